// On a narrow screen the tabs of the admin pages scroll: the current one is shown. Only
// the tabs move: the page stays where its mistake, or its anchor, is.

const tabs = document.querySelector("nav[aria-label=Admin]");
const current = tabs?.querySelector("[aria-current]");

if (current) {
  const at = current.getBoundingClientRect(), all = tabs.getBoundingClientRect();
  tabs.scrollLeft += (at.left + at.right - all.left - all.right) / 2;
}
