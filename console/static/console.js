// Keeps an open page true: ages count on, old values turn grey by themselves, changes arrive without a reload, and when
// nothing arrives any more the page says so. All markup is made (and escaped) by the server; this only puts it in place.
"use strict";
(() => {
  const POLL_MS = 15000, MIN_REFRESH_MS = 1500, SILENCE_MS = 32000;
  const status = document.getElementById("live");
  if (!status) return;
  const word = document.getElementById("live-word");
  const lost = document.getElementById("lost");
  const announcer = document.getElementById("announce");

  // The server's clock counts, not this device's: a tablet that runs ten minutes ahead must not make values look old.
  let serverMs = Date.parse(status.dataset.now), heardAt = performance.now();
  const now = () => serverMs + (performance.now() - heardAt);
  const hear = (iso) => { serverMs = Date.parse(iso); heardAt = performance.now(); };

  // The same words as console/words.py.
  const age = (s) => s < 0 ? "just now" : s < 100 ? `${Math.round(s)} s ago` : s < 6000 ? `${Math.round(s / 60)} min ago`
    : s < 172800 ? `${Math.round(s / 3600)} h ago` : `${Math.round(s / 86400)} days ago`;

  function tick() {
    for (const place of document.querySelectorAll(".ago")) {
      const text = age((now() - Date.parse(place.dataset.since)) / 1000);
      if (place.textContent !== text) place.textContent = text;
    }
    for (const tile of document.querySelectorAll("[data-stale-after]")) {
      tile.classList.toggle("is-stale", (now() - Date.parse(tile.dataset.since)) / 1000 > Number(tile.dataset.staleAfter));
    }
    if (performance.now() - lastWord > SILENCE_MS) trouble("nothing was heard from the server");
  }

  let lastWord = performance.now();
  function fine() {
    lastWord = performance.now();
    status.classList.add("is-live");
    status.classList.remove("is-lost");
    word.textContent = "Live";
    lost.hidden = true;
  }
  function trouble(why) {
    status.classList.remove("is-live");
    status.classList.add("is-lost");
    word.textContent = "Not live";
    const text = `Not live: ${why}. What you see is from ${document.getElementById("as-of").textContent}. Trying again.`;
    if (lost.textContent !== text) lost.textContent = text;
    lost.hidden = false;
  }

  // What the server sent for each piece: comparing with that, not with the page, since ages on the page count on.
  const sent = new WeakMap();
  const keyed = (list) => new Map([...list.children].filter((c) => c.dataset.key).map((c) => [c.dataset.key, c]));
  for (const region of document.querySelectorAll("[data-live]")) {
    sent.set(region, region.innerHTML);
    for (const child of region.children) sent.set(child, child.outerHTML);
  }

  // A person who is typing or has opened something must not lose it to an update.
  function keepPlace(change) {
    const held = document.activeElement, id = held && held.id;
    const typed = [...document.querySelectorAll("main input:not([type=hidden])")].map((i) => [i.id, i.value]);
    const opened = [...document.querySelectorAll("main details[open]")].map((d) => d.id);
    change();
    for (const one of opened) document.getElementById(one)?.setAttribute("open", "");
    for (const [inputId, value] of typed) {
      const input = document.getElementById(inputId);
      if (input && value && !input.value) input.value = value;
    }
    if (id && document.activeElement !== held) document.getElementById(id)?.focus({ preventScroll: true });
  }

  function updateList(list, fresh) {
    const old = keyed(list);
    let at = list.firstElementChild;
    for (const piece of [...fresh.children]) {
      const known = old.get(piece.dataset.key);
      old.delete(piece.dataset.key);
      let placed = known;
      if (!known || sent.get(known) !== piece.outerHTML) {
        placed = document.importNode(piece, true);
        sent.set(placed, piece.outerHTML);
        if (known) { if (at === known) at = placed; known.replaceWith(placed); }
      }
      if (placed === at) at = at.nextElementSibling; else list.insertBefore(placed, at);
    }
    for (const gone of old.values()) gone.remove();
  }

  function update(fresh) {
    keepPlace(() => {
      for (const region of document.querySelectorAll("[data-live]")) {
        const other = fresh.querySelector(`[data-live="${region.dataset.live}"]`);
        if (!other) region.replaceChildren();
        else if ("list" in region.dataset) updateList(region, other);
        else if (sent.get(region) !== other.innerHTML) {
          sent.set(region, other.innerHTML);
          region.replaceChildren(...[...document.importNode(other, true).childNodes]);
        }
      }
    });
    document.title = fresh.title;
    const theirs = fresh.getElementById("live");
    hear(theirs.dataset.now);
    document.getElementById("as-of").textContent = fresh.getElementById("as-of").textContent;
  }

  // Said aloud once, when an alert is new or rises; not at every change of an age.
  const said = () => new Map([...document.querySelectorAll("[data-announce].s-raised")].map((a) => [a.dataset.announce, a]));
  function announce(before) {
    const fresh = [...said()].filter(([text]) => !before.has(text));
    for (const [, alert] of fresh) alert.classList.add("is-new");
    if (fresh.length) announcer.textContent = fresh.slice(0, 3).map(([text]) => `New alert. ${text}`).join(" ");
  }

  let refreshing = false, again = false, lastRefresh = 0;
  async function refresh() {
    if (refreshing || document.hidden) { again = true; return; }
    const wait = lastRefresh + MIN_REFRESH_MS - performance.now();
    refreshing = true;
    again = false;
    try {
      if (wait > 0) await new Promise((done) => setTimeout(done, wait));
      const url = new URL(location.href);
      url.searchParams.delete("notice");
      const answer = await fetch(url, { headers: { accept: "application/json" }, redirect: "error", cache: "no-store" });
      if (answer.status === 401) { location.assign("/login"); return; }
      if (!answer.ok) throw new Error(String(answer.status));
      const before = said();
      update(new DOMParser().parseFromString(await answer.text(), "text/html"));
      announce(before);
      tick();
      fine();
    } catch {
      trouble("the console does not answer");
    } finally {
      lastRefresh = performance.now();
      refreshing = false;
      if (again && !document.hidden) refresh();
    }
  }

  let source = null, polling = 0;
  function listen() {
    source = new EventSource("/events");
    const on = (kind, act) => source.addEventListener(kind, (event) => {
      const data = JSON.parse(event.data);
      lastWord = performance.now();
      act(data);
    });
    on("changed", () => refresh());
    on("beat", () => refresh());  // nothing changed, but silence does: "no data since" is the server's word
    on("trouble", (data) => trouble(data.text));
    source.onopen = () => { clearInterval(polling); polling = 0; };
    source.onerror = () => {
      if (!polling) polling = setInterval(refresh, POLL_MS);
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, POLL_MS);
    };
  }

  document.addEventListener("visibilitychange", () => { if (!document.hidden && again) refresh(); });
  addEventListener("pagehide", () => source && source.close());
  addEventListener("pageshow", (event) => { if (event.persisted) { listen(); refresh(); } });
  document.addEventListener("keydown", (event) => {
    const menu = document.getElementById("who");
    if (event.key === "Escape" && menu && menu.open) { menu.open = false; menu.querySelector("summary").focus(); }
  });
  word.textContent = "Connecting";
  setInterval(tick, 1000);
  tick();
  listen();
})();
