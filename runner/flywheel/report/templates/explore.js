"use strict";
// Without this script the page shows verdict, tables and samples; with it every item that the page holds can be looked at.
(() => {
  const data = JSON.parse(document.getElementById("item-data").textContent);
  const names = ["suite", "id", "movement", "slices", "question", "gold", "first", "second", "past"];
  const parts = ["outcome", "answer", "mode", "reason"];
  const named = (row, keys) => row && Object.fromEntries(row.map((value, i) => [keys[i], value]));
  const items = data.items.map((row) => {
    const item = named(row, names);
    return Object.assign(item, { first: named(item.first, parts), second: named(item.second, parts) });
  });
  const arms = items.some((item) => item.second) ? ["first", "second"] : ["first"];
  const by = (id) => document.getElementById(`x-${id}`);
  const fields = ["text", "suite", "movement", "mode", "slice", "verdict", "sort"];
  const said = { broken: "broken", fixed: "fixed", still_wrong: "still wrong", still_right: "still right", unknown: "unknown" };
  const STEP = 20;
  let shown = STEP, found = [], only = "";

  // --- which items

  const modesOf = (item) => arms.map((arm) => item[arm] && item[arm].mode).filter(Boolean);
  const last = (item) => item.second || item.first;
  const sorts = {
    moved: () => 0, // as they come: broken first
    question: (a, b) => a.question.localeCompare(b.question),
    longest: (a, b) => last(b).answer.length - last(a).answer.length,
    suite: (a, b) => a.suite.localeCompare(b.suite) || a.id.localeCompare(b.id),
  };
  const tests = {
    text: (item, value) => haystack(item).includes(value.toLowerCase()),
    suite: (item, value) => item.suite === value,
    movement: (item, value) => item.movement === value,
    mode: (item, value) => modesOf(item).includes(value),
    slice: (item, value) => item.slices.includes(value),
    verdict: (item, value) => last(item).outcome === value,
  };
  function haystack(item) {
    const answers = arms.flatMap((arm) => (item[arm] ? [item[arm].answer, item[arm].reason] : []));
    return (item.text ??= [item.id, item.question, item.gold, ...answers].join("\n").toLowerCase());
  }
  function find() {
    const wanted = Object.keys(tests).map((name) => [tests[name], by(name).value]).filter(([, value]) => value);
    found = items.filter((item) => (only ? item.id === only : true) && wanted.every(([test, value]) => test(item, value)));
    if (by("sort").value !== "moved") found.sort(sorts[by("sort").value]);
  }

  // --- what is shown

  function make(tag, name, ...children) {
    const element = document.createElement(tag);
    if (name) element.className = name;
    element.append(...children);
    return element;
  }
  const pieces = (text) => text.match(/[\p{L}\p{N}_]+|\s+|[^\p{L}\p{N}_\s]/gu) || [];
  /** Which pieces of a are in the longest common subsequence of a and b. */
  function common(a, b) {
    const long = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
    for (let i = a.length - 1; i >= 0; i--)
      for (let j = b.length - 1; j >= 0; j--)
        long[i][j] = a[i] === b[j] ? long[i + 1][j + 1] + 1 : Math.max(long[i + 1][j], long[i][j + 1]);
    const kept = [];
    for (let i = 0, j = 0; i < a.length; i++) {
      while (j < b.length && a[i] !== b[j] && long[i][j + 1] > long[i + 1][j]) j++;
      kept.push(j < b.length && a[i] === b[j]);
      if (kept[i]) j++;
    }
    return kept;
  }
  function marked(text, other) {
    const pre = make("pre", "");
    if (!text) pre.append("(empty)");
    const mine = pieces(text), kept = other === null ? mine.map(() => true) : common(mine, pieces(other));
    mine.forEach((piece, i) => pre.append(kept[i] ? piece : make("mark", "", piece)));
    return pre;
  }
  function answer(item, arm) {
    const own = item[arm], other = item[arm === "first" ? "second" : "first"];
    const tone = { pass: "right", fail: "wrong", unknown: "unknown" }[own.outcome];
    const outcome = make("span", { pass: "good", fail: "bad", unknown: "warn" }[own.outcome], own.outcome);
    if (own.mode) outcome.append(`, ${own.mode}`);
    const body = make("dd", "", marked(own.answer, other ? other.answer : null));
    if (own.reason) body.append(make("p", "small muted", own.reason));
    return make("div", tone, make("dt", "", `${data.labels[arms.indexOf(arm)]}: `, outcome), body);
  }
  function article(item) {
    const link = make("a", "", `${item.suite} · ${item.id}`);
    link.href = address({ item: item.id });
    const head = make("header", "", make("h4", "", link), make("span", "tag", said[item.movement] || item.first.outcome));
    item.slices.forEach((slice) => head.append(make("span", "muted", slice)));
    const gold = make("div", "", make("dt", "", "Right answer"), make("dd", "", make("pre", "", item.gold || "(none given)")));
    const pair = make("dl", "pair", gold, ...arms.filter((arm) => item[arm]).map((arm) => answer(item, arm)));
    return make("article", "example", head, make("pre", "", item.question), pair, life(item));
  }
  /** How it went in every iteration, what was taught against its error modes, and where the store tells the rest. */
  function life(item) {
    const list = make("ul", "small");
    item.past.forEach(([iteration, before, was, after, is]) => {
      const link = make("a", "", `iteration ${iteration}`);
      link.href = iteration === data.iteration ? address({ item: item.id }) : page(iteration, item.id);
      const then = after ? ` → ${after}${is ? ` (${is})` : ""}` : "";
      list.append(make("li", "", link, `: ${before}${was ? ` (${was})` : ""}${then}`));
    });
    if (by("next") && !by("next").hidden) {
      const next = make("a", "", `iteration ${data.iteration + 1}`);
      next.href = page(data.iteration + 1, item.id);
      list.append(make("li", "", "next: ", next));
    }
    list.append(make("li", "", "its rows in the store: ", make("code", "", `flywheel show ${item.id}`)));
    const modes = [...new Set(modesOf(item))], followed = modes.map((mode) => told("followed", mode)).filter(Boolean);
    modes.filter((mode) => !told("followed", mode) && told("mode", mode)).forEach((mode) => {
      list.append(make("li", "", `${mode}: ${told("mode", mode).dataset.life}`));
    });
    const details = make("details", "", make("summary", "", "Its life"), list);
    details.addEventListener("toggle", () => details.append(...followed.map(copied)), { once: true });
    return details;
  }
  /** Where the page tells of a mode, outside of the items. */
  const told = (what, mode) => document.querySelector(`#modes [data-${what}="${CSS.escape(mode)}"]`);
  /** The mode's failures and lessons, as they stand above: its links lead there. */
  function copied(followed) {
    const copy = followed.cloneNode(true);
    copy.querySelectorAll("[id]").forEach((element) => element.removeAttribute("id"));
    copy.open = true;
    return copy;
  }
  const page = (iteration, id) => `../iter-${String(iteration).padStart(3, "0")}/index.html${address({ item: id })}`;
  const address = (wanted) => `#items?${new URLSearchParams(wanted)}`;

  function draw() {
    by("list").replaceChildren(...found.slice(0, shown).map(article));
    const here = Math.min(shown, found.length);
    by("count").textContent = `${found.length.toLocaleString("en")} of ${items.length.toLocaleString("en")} items; ${here} shown.`;
    by("more").hidden = found.length <= shown;
  }
  function update() {
    shown = STEP;
    find();
    draw();
  }

  // --- the address says which

  function remember() {
    const wanted = Object.fromEntries(fields.map((name) => [name, by(name).value]).filter(([, value]) => value));
    if (wanted.sort === "moved") delete wanted.sort;
    history.replaceState(null, "", Object.keys(wanted).length ? address(wanted) : "#items");
  }
  function follow() {
    if (!location.hash.startsWith("#items?")) return;
    const wanted = new URLSearchParams(location.hash.slice("#items?".length));
    only = wanted.get("item") || "";
    fields.forEach((name) => {
      by(name).value = wanted.get(name) || (name === "sort" ? "moved" : "");
      if (by(name).selectedIndex === -1) by(name).value = "";
    });
    update();
    by("explorer").scrollIntoView();
    by("heading").focus({ preventScroll: true });
  }

  function offer(name, values) {
    [...new Set(values)].sort().forEach((value) => by(name).append(new Option(said[value] || value, value)));
    by(name).closest("label").hidden = by(name).options.length < 3;
  }
  offer("suite", items.map((item) => item.suite));
  offer("movement", items.map((item) => item.movement).filter(Boolean));
  offer("mode", items.flatMap(modesOf));
  offer("slice", items.flatMap((item) => item.slices));
  offer("verdict", items.map((item) => last(item).outcome));
  document.querySelectorAll("a[data-items]").forEach((link) => { link.href = `#items?${link.dataset.items}`; });
  fields.forEach((name) => by(name).addEventListener("input", () => { only = ""; remember(); update(); }));
  by("reset").addEventListener("click", () => {
    only = "";
    fields.forEach((name) => { by(name).value = name === "sort" ? "moved" : ""; });
    remember();
    update();
  });
  by("more").addEventListener("click", () => {
    const first = shown;
    shown += STEP;
    draw();
    by("list").children[first].querySelector("a").focus();
  });
  addEventListener("hashchange", follow);
  by("explorer").hidden = false;
  by("none").hidden = true;
  update();
  follow();
})();
