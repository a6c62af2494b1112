// Clicks on the labels' buttons, and the keys that stand for them; `element`, `trigger` and `watch` are Gradio's.
let focused = null;

function act(button) {
  focused = button.dataset.key;
  trigger("select", { act: button.dataset.act, label: Number(button.dataset.label) });
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-act]");
  if (button) act(button);
});

// The list is drawn anew after every decision: who walks it with the tab key stays where they were.
watch("value", () => {
  if (focused) element.querySelector(`[data-key="${focused}"]`)?.focus({ preventScroll: true });
  focused = null;
});

const PAGE_KEYS = { ArrowLeft: "previous", ArrowRight: "next", Enter: "accept", s: "save" };

document.addEventListener("keydown", (event) => {
  const written = event.target.closest?.("input:not([type=checkbox]), textarea, select, [contenteditable=true]");
  const pressed = event.target.closest?.("button, a, summary");
  if (written || event.ctrlKey || event.metaKey || event.altKey) return;
  const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code);
  if (digit) {
    const row = element.querySelectorAll("ol.labels li")[Number(digit[1]) - 1];
    row?.querySelector(event.shiftKey ? ".no" : ".yes").click();
    focused = null;
    event.preventDefault();
  } else if (PAGE_KEYS[event.key] && !(event.key === "Enter" && pressed)) {
    document.getElementById(PAGE_KEYS[event.key])?.click();
    event.preventDefault();
  }
});
