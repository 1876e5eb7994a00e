// Copy buttons beside commands, and the visitor's own system opened first.

const status = document.querySelector("[data-copied-text]");

function prepare(root) {
  for (const b of root.querySelectorAll("[data-copy]")) b.hidden = false;
  const system = ownSystem();
  for (const group of root.querySelectorAll("[data-systems]")) {
    const mine = group.querySelector(`[data-system="${system}"]`);
    if (mine) for (const d of group.children) d.open = d === mine;
  }
}

function ownSystem() {
  const name = navigator.userAgentData?.platform ?? navigator.platform ?? "";
  if (/mac/i.test(name)) return "macos";
  if (/linux|x11/i.test(name)) return "linux";
  return "windows";
}

// copy copies an element's text. Browsers keep the clipboard from pages on plain
// HTTP, but not from what their reader has selected.
async function copy(element) {
  if (navigator.clipboard) return navigator.clipboard.writeText(element.textContent);
  getSelection().selectAllChildren(element);
  document.execCommand("copy");
}

document.addEventListener("click", async (e) => {
  const button = e.target.closest("[data-copy]");
  if (!button) return;
  await copy(button.previousElementSibling);
  if (status) {
    status.textContent = "";
    status.textContent = status.dataset.copiedText;
  }
  button.classList.add("copied");
  setTimeout(() => button.classList.remove("copied"), 1500);
});
document.addEventListener("replaced", (e) => prepare(e.target));
prepare(document);
