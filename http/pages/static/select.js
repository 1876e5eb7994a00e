// Ticking many nodes: all on the page at once, and how many there are.

for (const form of document.querySelectorAll("form[data-select]")) {
  const all = form.querySelector("[data-select-all]");
  const said = form.querySelector("[data-selected]");
  const boxes = [...form.querySelectorAll("input[name=mac]")];
  let last = null;

  function show() {
    const n = boxes.filter((b) => b.checked).length;
    said.textContent = n ? `${n} ${said.dataset.text}` : "";
    all.firstElementChild.checked = n === boxes.length;
    all.firstElementChild.indeterminate = n > 0 && n < boxes.length;
  }

  all.hidden = false;
  all.firstElementChild.addEventListener("change", (e) => {
    for (const b of boxes) b.checked = e.target.checked;
    show();
  });
  form.addEventListener("click", (e) => {
    const i = boxes.indexOf(e.target);
    if (i < 0) return;
    if (e.shiftKey && last !== null) {
      for (const b of boxes.slice(Math.min(i, last), Math.max(i, last) + 1)) b.checked = e.target.checked;
    }
    last = i;
    show();
  });
  show();
}
