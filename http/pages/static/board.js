// The live board: hears from the event stream which nodes did something, and asks
// the server for their rows, which it renders as it does for the whole page. The page
// of one node lives in the same way.

const board = document.querySelector("[data-board]");
const single = board?.classList.contains("single");
const live = document.getElementById("live");
const news = document.getElementById("board-news");

const gather = 250; // ms in which events share a request
const again = 5000; // ms after which a boot on its way is looked at again
const atMost = 100; // rows a request asks for: URLs have an end

const pending = new Set();
let timer = null;
let asking = false;

if (board) {
  setInterval(() => look(board.querySelectorAll("[data-group=booting]")), again);
  setInterval(() => look(board.querySelectorAll("[data-mac]")), 6 * again);
  document.addEventListener("visibilitychange", () => look([]));
  listen();
}

function listen() {
  const only = single ? `?mac=${board.firstElementChild.dataset.mac}` : "";
  const stream = new EventSource(`/api/v1/events/stream${only}`);
  stream.addEventListener("open", () => say("live"));
  stream.addEventListener("error", () => say("lost"));
  stream.addEventListener("message", (e) => {
    const mac = JSON.parse(e.data).mac;
    if (!mac || mac === "00:00:00:00:00:00") return;
    pending.add(mac);
    soon();
  });
}

function say(state) {
  if (!live) return;
  live.hidden = false;
  live.className = `live ${state}`;
  live.textContent = live.dataset[`${state}Text`];
}

function look(rows) {
  for (const row of rows) pending.add(row.dataset.mac);
  if (pending.size) soon();
}

function soon() {
  timer ??= setTimeout(refresh, gather);
}

async function refresh() {
  timer = null;
  if (asking || document.hidden) return;
  const macs = [...pending].slice(0, atMost);
  if (!macs.length) return;
  for (const m of macs) pending.delete(m);
  const query = new URLSearchParams(location.search);
  for (const m of macs) query.append("mac", m);
  asking = true;
  try {
    const answer = await fetch(single ? location.pathname : `/admin/board/rows?${query}`);
    if (answer.redirected) return location.reload(); // signed out
    if (answer.ok) put(new DOMParser().parseFromString(await answer.text(), "text/html"), macs);
  } catch {
    for (const m of macs) pending.add(m); // the appliance is away: the next look tries again
    return;
  } finally {
    asking = false;
  }
  if (pending.size) soon();
}

function put(fresh, asked) {
  const counts = document.getElementById("board-counts");
  const now = fresh.getElementById("board-counts");
  if (now && counts && now.innerHTML !== counts.innerHTML && !counts.contains(document.activeElement)) counts.replaceChildren(...now.childNodes);
  if (!single) leave(fresh, asked);
  const newest = !single && (board.dataset.page === "1" || board.dataset.page === "0");
  for (const row of [...fresh.querySelectorAll("#board > [data-mac]")].reverse()) {
    const old = document.getElementById(row.id);
    if (newest && begins(old, row)) {
      if (!old || !held(old)) {
        old?.remove();
        board.prepend(row);
        continue;
      }
      row.dataset.last = old.dataset.last ?? 0; // it moves when it is let go
    }
    if (old) swap(old, row);
  }
  document.getElementById("board-empty")?.toggleAttribute("hidden", board.childElementCount > 0);
  tell(fresh.getElementById("board-news"));
}

// begins tells whether a node has begun to boot since its old row was made: such a
// row goes to the top, where the page puts it too.
function begins(old, row) {
  return !old || Number(row.dataset.began) > Number(old.dataset.last ?? 0);
}

// held tells whether somebody is at work in a row: it stays where it is.
function held(row) {
  return row.contains(document.activeElement) || row.querySelector("details[open]");
}

// leave takes away rows that the filter does not show any more.
function leave(fresh, asked) {
  for (const mac of asked) {
    const row = board.querySelector(`[data-mac="${mac}"]`);
    if (row && !fresh.querySelector(`[data-mac="${mac}"]`) && !row.contains(document.activeElement)) row.remove();
  }
}

// swap replaces a row, and keeps open what was open and focused what was focused.
function swap(old, row) {
  const stops = (of) => [...of.querySelectorAll("a, summary")];
  const place = stops(old).indexOf(document.activeElement);
  for (const was of old.querySelectorAll("details[open]")) {
    const is = was.id ? row.querySelector(`#${was.id}`) : row.querySelector("details");
    if (is) is.open = true;
  }
  old.replaceWith(row);
  if (place >= 0) stops(row)[place]?.focus();
}

// tell says to a screen reader when more nodes need a look.
function tell(now) {
  if (!now || !news || now.dataset.count === news.dataset.count) return;
  news.dataset.count = now.dataset.count;
  news.textContent = now.dataset.count === "0" ? "" : `${now.dataset.count} ${news.dataset.text}`;
}
