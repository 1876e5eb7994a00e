// Sends an upload with a progress bar. The server answers as it does without us.

for (const form of document.querySelectorAll("form[data-upload]")) {
  const bar = form.querySelector("progress");
  const text = form.querySelector("output");

  form.addEventListener("submit", (e) => {
    e.preventDefault();
    const button = form.querySelector("button");
    const request = new XMLHttpRequest();
    request.responseType = "document";
    request.upload.addEventListener("progress", (p) => {
      if (!p.lengthComputable) return;
      bar.value = (100 * p.loaded) / p.total;
      text.textContent = `${Math.floor(bar.value)} %`;
    });
    request.addEventListener("load", () => {
      if (request.status === 200) return location.assign(request.responseURL);
      finish(request.response);
    });
    request.addEventListener("error", () => form.submit()); // let the browser say what is wrong
    request.open("POST", form.action);
    bar.hidden = false;
    button.disabled = true;
    request.send(new FormData(form));

    function finish(page) {
      bar.hidden = true;
      bar.value = 0;
      text.textContent = "";
      button.disabled = false;
      for (const part of form.querySelectorAll("[data-part]")) {
        part.textContent = page?.getElementById(part.id)?.textContent ?? "";
      }
      for (const field of form.querySelectorAll("[aria-describedby]")) {
        const wrong = field.getAttribute("aria-describedby").split(" ")
          .some((id) => id.endsWith("-error") && document.getElementById(id)?.textContent);
        field.toggleAttribute("aria-invalid", wrong);
        if (wrong) field.setAttribute("aria-invalid", "true");
      }
      form.querySelector("[aria-invalid]")?.focus();
    }
  });
}
