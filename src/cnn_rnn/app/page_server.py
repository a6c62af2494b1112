"""The page over HTTP, for those who ask for it by a name of its own and, from other machines, know its token."""

import os
import signal
import socket
import threading
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from cnn_rnn.foundation.own_names import EVERYWHERE, OwnNames, own_names
from cnn_rnn.foundation.own_token import PARAMETER, AskedToken
from cnn_rnn.foundation.temporary_folders import temporary_folder

from .tagging_page import Desk, build_page
from .views import PAGE_FOLDER

MOST_DROPPED = "64mb"  # the largest file that a browser may send


def serve(
    desk: Desk,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    root_path: str | None = None,
    token: str | None = None,
    wait: bool = True,
) -> Any:
    """Serve the page; returns what Gradio does: its app and addresses.

    Args:
        desk: The page at work.
        host: Address to listen at; 0.0.0.0 for other machines too.
        port: Port to listen at; the first free one from 7860 where None.
        root_path: Its address as others write it, where there is a proxy in front of it.
        token: What other machines must know; None for nothing.
        wait: Whether to stay until Ctrl-C or SIGTERM.
    """
    # Gradio clears the folder of dropped photos when a page ends: another page's must not lie there.
    dropped = temporary_folder("cnn-rnn-app-")
    if wait and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # else that folder would stay
    os.environ["GRADIO_TEMP_DIR"] = str(dropped)
    names = own_names(host, root_path or os.environ.get("GRADIO_ROOT_PATH"))
    guards = [Middleware(OwnNames, names=names), *([Middleware(AskedToken, token=token)] if token else [])]
    plain = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])  # none fetched
    page = build_page(desk)
    served = page.launch(
        server_name=host,
        server_port=port,
        root_path=root_path,
        app_kwargs={"middleware": guards},
        theme=plain,
        css_paths=PAGE_FOLDER / "tagging_page.css",
        max_file_size=MOST_DROPPED,
        prevent_thread_lock=True,
        quiet=True,
        footer_links=[],
        share=False,
        mcp_server=False,
        enable_monitoring=False,
        ssr_mode=False,
    )
    print(f"the page is at {served[1]} (open it in a browser; Ctrl-C ends it)")
    if token:
        name = socket.gethostname() if host.strip("[]") in EVERYWHERE else host
        print(f"other machines open http://{name}:{page.server_port}/?{PARAMETER}=TOKEN, with the token for TOKEN")
    if wait:
        page.block_thread()
    return served
