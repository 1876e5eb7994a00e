// Keeps a page with a form up to date while it is being filled in. The server
// renders the page for what is in the form now; the parts marked data-part are
// taken from its answer.

const pause = 200; // ms after the last key

for (const form of document.querySelectorAll("form[data-live]")) watch(form);
for (const field of document.querySelectorAll("input[data-check]")) check(field);

// check has the page that a field names say what is wrong with what is typed: it has a
// field of that name, too.
function check(field) {
  let timer, request;
  const error = document.getElementById(`${field.id}-error`);

  async function ask() {
    request?.abort();
    request = new AbortController();
    const url = `${field.dataset.check}?${new URLSearchParams({ [field.name]: field.value })}`;
    try {
      const answer = await fetch(url, { signal: request.signal, headers: { Accept: "text/html" } });
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const wrong = fresh.getElementById(`${field.name}-error`)?.textContent ?? "";
      error.textContent = wrong;
      if (wrong) field.setAttribute("aria-invalid", "true");
      else field.removeAttribute("aria-invalid");
    } catch {
      // It is checked when the form is sent.
    }
  }

  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, pause);
  });
}

function watch(form) {
  form.querySelector("[data-submit]")?.setAttribute("hidden", "");
  let timer, request;

  async function refresh() {
    request?.abort();
    request = new AbortController();
    const query = new URLSearchParams(new FormData(form));
    const url = `${form.getAttribute("action")}?${query}`;
    form.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(url, { signal: request.signal, headers: { Accept: "text/html" } });
      replaceParts(new DOMParser().parseFromString(await answer.text(), "text/html"));
      if (form.dataset.live !== "still") history.replaceState(null, "", url);
      form.removeAttribute("aria-busy");
    } catch (e) {
      if (e.name !== "AbortError") form.removeAttribute("aria-busy"); // the next key tries again
    }
  }

  form.addEventListener("input", (e) => {
    clearTimeout(timer);
    timer = setTimeout(refresh, e.target.matches("input:not([type=radio], [type=checkbox])") ? pause : 0);
  });
  form.addEventListener("submit", (e) => {
    e.preventDefault();
    clearTimeout(timer);
    refresh();
  });
}

function replaceParts(fresh) {
  for (const part of document.querySelectorAll("[data-part]")) {
    const now = fresh.getElementById(part.id);
    if (!now || now.innerHTML === part.innerHTML) continue;
    part.replaceChildren(...now.childNodes);
    part.dispatchEvent(new CustomEvent("replaced", { bubbles: true }));
  }
  for (const field of document.querySelectorAll("[aria-describedby]")) {
    const wrong = field.getAttribute("aria-describedby").split(" ")
      .some((id) => id.endsWith("-error") && document.getElementById(id)?.textContent);
    if (wrong) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
  }
}
