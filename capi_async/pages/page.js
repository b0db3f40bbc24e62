// Renews the content of a page that asks for it, every few seconds while it is seen. What was folded open stays open,
// what has the focus keeps it, and nothing is touched while somebody types or is about to confirm.
"use strict";
(() => {
  const main = document.querySelector("main[data-live]");
  if (!main) return;
  const pause = Number(main.dataset.live) * 1000;
  const status = document.getElementById("status");
  let failed = 0;

  const busy = () => {
    const at = document.activeElement;
    return main.contains(at) && at.matches("input, select, textarea, form button");
  };

  // The same element in the new content: by its key or id, else by its place among those like it.
  const pathOf = (element) => {
    if (!element || element === main || !main.contains(element)) return null;
    const path = [];
    for (let one = element; one !== main; one = one.parentElement) {
      if (one.dataset && one.dataset.key) { path.unshift({ key: one.dataset.key }); break; }
      path.unshift({ at: Array.prototype.indexOf.call(one.parentElement.children, one), name: one.localName });
    }
    return path;
  };
  const follow = (path) => {
    let one = main;
    for (const step of path) {
      one = step.key ? main.querySelector(`[data-key="${CSS.escape(step.key)}"]`) : one.children[step.at];
      if (!one || (step.name && one.localName !== step.name)) return null;
    }
    return one;
  };

  const renew = (html) => {
    const fresh = new DOMParser().parseFromString(html, "text/html").querySelector("main");
    if (!fresh || fresh.innerHTML === main.innerHTML) return;
    const open = new Map();
    for (const one of main.querySelectorAll("details[data-key]")) open.set(one.dataset.key, one.open);
    for (const one of fresh.querySelectorAll("details[data-key]")) {
      if (open.has(one.dataset.key)) one.open = open.get(one.dataset.key);
    }
    const focus = pathOf(document.activeElement);
    const scrolled = [...main.querySelectorAll(".scroll, pre")].map((one) => [pathOf(one), one.scrollLeft, one.scrollTop]);
    main.replaceChildren(...fresh.childNodes);
    for (const [path, left, top] of scrolled) {
      const one = (left || top) && follow(path);
      if (one) { one.scrollLeft = left; one.scrollTop = top; }
    }
    const again = focus && follow(focus);
    if (again) again.focus({ preventScroll: true });
  };

  const look = async () => {
    if (!document.hidden && !busy()) {
      try {
        const answer = await fetch(location.href, { headers: { "X-Capi-Live": "1" }, redirect: "error" });
        if (!answer.ok) throw new Error(String(answer.status));
        const html = await answer.text();
        if (!busy()) renew(html);
        if (failed) status.textContent = "";
        failed = 0;
      } catch {
        failed += 1;
        status.textContent = "This page is not up to date: the server does not answer. It is asked again.";
      }
    }
    setTimeout(look, pause * Math.min(1 + failed, 8));
  };
  setTimeout(look, pause);
})();
