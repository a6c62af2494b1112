// Clicks on buttons, and the keys that stand for them; `element`, `trigger` and `watch` are Gradio's.
let focused = null;
let sent = 0;
let waiting = null;
let saves = false;
const PATIENCE = 5000; // milliseconds that saving waits for what was said before

const shown = () => element.querySelector("[data-turn]")?.dataset ?? {};

// Each says which photo it is meant for: the next one may be on its way already.
function send(act, label = null) {
  sent += 1;
  trigger("select", { act, label, photo: Number(shown().photo) });
}

function act(button) {
  focused = button.dataset.key;
  send(button.dataset.act, Number(button.dataset.label ?? -1));
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-act]");
  if (button) act(button);
});

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("#previous, #accept, #next");
  if (button) send(button.id);
});

// What is saved is all that was said before: where that is on its way, saving waits for its answer, but not for ever.
document.addEventListener(
  "click",
  (event) => {
    if (!event.target.closest?.("#save") || Number(shown().turn ?? 0) >= sent) return;
    event.stopImmediatePropagation();
    saves = true;
    setTimeout(save, PATIENCE);
  },
  true,
);

function save() {
  if (!saves) return;
  saves = false;
  sent = Number(shown().turn ?? 0);
  document.getElementById("save")?.click();
}

watch("value", () => {
  // The list is drawn anew after every decision: who walks it with the tab key stays where they were.
  if (focused) element.querySelector(`[data-key="${focused}"]`)?.focus({ preventScroll: true });
  focused = null;
  // Answers that come close together may overtake each other: where the last is not the latest, it is asked for.
  const heard = Number(shown().turn ?? 0);
  clearTimeout(waiting);
  if (heard < sent) {
    waiting = setTimeout(() => trigger("select", { act: "show" }), 1000);
    return;
  }
  sent = heard;
  save();
});

// Whoever closes the page with accepted labels that are not saved is asked first.
window.addEventListener("beforeunload", (event) => {
  if (document.querySelector(".unsaved")) event.preventDefault();
});

// Keys of what stands in the list itself, where it is there.
const LIST_KEYS = { u: "undo", a: "list", o: "order", t: "train", Enter: "take", Escape: "leave" };

const PAGE_KEYS = { ArrowLeft: "previous", ArrowRight: "next", Enter: "accept", s: "save" };

document.addEventListener("keydown", (event) => {
  const written = event.target.closest?.("input:not([type=checkbox]), textarea, select, [contenteditable=true]");
  if (written && event.key === "Escape") written.blur();
  const pressed = event.target.closest?.("button, a, summary");
  if (written || event.ctrlKey || event.metaKey || event.altKey) return;
  const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code);
  const key = digit ? digit[1] : event.key.toLowerCase();
  const row = Array.from(element.querySelectorAll("ol.labels li")).find(
    (one) => one.querySelector("kbd").textContent === key,
  );
  const listed = element.querySelector(`[data-act="${LIST_KEYS[event.key]}"]`);
  if (row || digit) {
    row?.querySelector(event.shiftKey ? ".no" : ".yes").click();
    focused = null;
    event.preventDefault();
  } else if (listed && !(event.key === "Enter" && pressed)) {
    listed.click();
    focused = null;
    event.preventDefault();
  } else if (event.key === "/") {
    const box = document.querySelector("#other input");
    box?.focus();
    box?.select(); // what was typed last may still stand there
    event.preventDefault();
  } else if (PAGE_KEYS[event.key] && !(event.key === "Enter" && pressed)) {
    document.getElementById(PAGE_KEYS[event.key])?.click();
    event.preventDefault();
  }
});
