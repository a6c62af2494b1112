"""What an archive from outside may cost: asked as its members are named, before any of them is unpacked."""

import lzma
import tarfile
import zipfile
import zlib
from typing import Self

MOST_MEMBERS = 1_000_000  # the largest official archive, COCO's train2017.zip, has 118,288
MOST_BYTES = 2**38  # 256 GiB unpacked; that one has 19.4 GB
MOST_TIMES = 100  # as large unpacked as packed, beyond what follows: photos hardly grow, NUS-WIDE's tables 27 times
HARMLESS_BYTES = 2**32  # that anything may unpack to: a table that is nearly all 0 grows a thousand times
LONGEST_HEADER = 2**20  # bytes of a member's name and notes, which are read into memory whole
LONG_HEADERS = frozenset(
    {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
)
BROKEN_ARCHIVE = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError)


class UnsafeArchiveError(ValueError):
    """An archive that is cut off, costs too much or would write outside its folder; the message names the member."""


class ArchiveTally:
    """What the members of an archive declare so far, held against what an archive may cost.

    Args:
        archive: What messages call it.
        packed: Its own length in bytes; None where nobody tells.
        most_bytes: What it may unpack to.
    """

    def __init__(self, archive: str, packed: int | None, most_bytes: int = MOST_BYTES) -> None:
        self.archive, self.packed, self.most_bytes = archive, packed, most_bytes
        self.members = self.bytes = 0

    def add(self, member: str, size: int) -> None:
        """Count a member.

        Raises:
            UnsafeArchiveError: With it they are too many, too large, or too large for so small an archive.
        """
        self.members += 1
        self.bytes += size
        if size < 0:
            self._refuse(member, f"declares {size:,} bytes, and no file has fewer than none")
        if self.members > MOST_MEMBERS:
            self._refuse(member, f"is one more than the {MOST_MEMBERS:,} that an archive may have")
        if self.bytes > self.most_bytes:
            self._refuse(member, f"makes it {self.bytes:,} bytes unpacked, of at most {self.most_bytes:,}")
        if self.packed is not None and self.bytes > max(HARMLESS_BYTES, MOST_TIMES * self.packed):
            self._refuse(
                member,
                f"makes it {self.bytes:,} bytes unpacked, of at most {MOST_TIMES} times the {self.packed:,} that the "
                "archive has",
            )

    def _refuse(self, member: str, why: str) -> None:
        """Raise the error that names archive, member, bound and the way out."""
        raise UnsafeArchiveError(
            f"{self.archive}: member {member!r} {why}; if you trust it, unpack it with a tool of the system and give "
            "what comes of it"
        )


class LongHeaderError(tarfile.TarError):
    """A header that is larger than any that an honest program writes."""


class CheckedTarInfo(tarfile.TarInfo):
    """A tar's member, whose long name and notes are not read where they declare to be longer than any."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """The member of a header of 512 bytes.

        Raises:
            LongHeaderError: They do.
        """
        member = super().frombuf(buf, encoding, errors)
        if member.type in LONG_HEADERS and not 0 <= member.size <= LONGEST_HEADER:
            raise LongHeaderError(
                f"the header of member {member.name!r} declares {member.size:,} bytes, of at most {LONGEST_HEADER:,}"
            )
        return member
