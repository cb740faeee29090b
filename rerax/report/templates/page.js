"use strict";
(() => {
  const tip = document.getElementById("tip");
  const root = document.documentElement;

  // The box with the numbers of a mark, kept inside the window.
  const show = (text, x, y) => {
    if (tip.textContent !== text) tip.textContent = text;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, x - box.width / 2), innerWidth - box.width - 8);
    const above = y - box.height - 14;
    tip.style.left = Math.max(0, left) + "px";
    tip.style.top = (above > 4 ? above : y + 18) + "px";
  };
  const hide = () => {
    tip.hidden = true;
    document.querySelectorAll(".here").forEach(mark => mark.classList.remove("here"));
  };

  // Titles become labels, or the browser would show a second box.
  document.querySelectorAll("svg title").forEach(title => {
    const owner = title.parentNode;
    owner.removeAttribute("aria-labelledby");
    owner.setAttribute("aria-label", title.textContent);
    title.remove();
  });
  document.querySelectorAll("td[title]").forEach(cell => {
    cell.dataset.told = cell.title;
    cell.removeAttribute("title");
    const tell = () => {
      const box = cell.getBoundingClientRect();
      show(cell.dataset.told, box.left + box.width / 2, box.top);
    };
    cell.tell = tell;
    for (const kind of ["pointerenter", "focus", "click"]) cell.addEventListener(kind, tell);
    for (const kind of ["pointerleave", "blur"]) cell.addEventListener(kind, hide);
  });

  // The chips of a chart, read from the drawn paths when they are first asked for.
  const chipsOf = svg => svg.chips ??= [...svg.querySelectorAll(".dots")].flatMap(path => {
    const scores = path.dataset.scores.split(" ");
    const numbers = path.dataset.chips?.split(" ");
    return [...path.getAttribute("d").matchAll(/M(\S+) (\S+?)h0/g)].map((at, k) => ({
      x: +at[1], y: +at[2], group: path.parentNode,
      told: `${path.dataset.of}\nchip ${numbers ? numbers[k] : k}: ${scores[k]} %`,
    }));
  });

  document.querySelectorAll(".chart").forEach(svg => {
    const points = [...svg.querySelectorAll(".point")].map(mark => ({
      x: +mark.dataset.x, y: +mark.dataset.y, mark, group: mark.parentNode,
      told: mark.getAttribute("aria-label"),
    }));
    const tell = (found, place) => {
      const at = new DOMPoint(found.x, found.y).matrixTransform(place);
      hide();
      if (found.mark) found.mark.classList.add("here");
      show(found.told, at.x, at.y);
    };
    const look = event => {
      const place = svg.getScreenCTM();
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(place.inverse());
      // A mark is wanted rather than a chip where both are close, and from further away.
      let found = null;
      let best = 18;
      for (const item of [...points, ...chipsOf(svg)]) {
        const far = Math.hypot(item.x - at.x, item.y - at.y) + (item.mark ? -4 : 0);
        const reach = item.mark ? 18 : 6;
        if (far < Math.min(best, reach) && !item.group.classList.contains("off")) {
          [found, best] = [item, far];
        }
      }
      if (found) tell(found, place); else hide();
    };
    svg.addEventListener("pointermove", look);
    svg.addEventListener("click", look);
    svg.addEventListener("pointerleave", event => {
      if (event.pointerType === "mouse") hide();
    });
    for (const point of points) {
      point.mark.tell = () => tell(point, svg.getScreenCTM());
      point.mark.addEventListener("focus", point.mark.tell);
      point.mark.addEventListener("blur", hide);
    }
  });
  // The box of what has the focus follows it: a step to a mark out of sight scrolls there.
  addEventListener("scroll", () => {
    if (!tip.hidden && document.activeElement?.tell) document.activeElement.tell(); else hide();
  }, {capture: true, passive: true});
  addEventListener("click", event => {
    if (!event.target.closest(".chart, td")) hide();
  });
  addEventListener("keydown", event => { if (event.key === "Escape") hide(); });

  // A name in a legend hides and shows its curve.
  document.querySelectorAll(".legend li[data-series]").forEach(item => {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-pressed", "true");
    button.append(...item.childNodes);
    item.append(button);
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") === "false";
      button.setAttribute("aria-pressed", on);
      const curve = `.series[data-series="${item.dataset.series}"]`;
      item.closest("figure").querySelectorAll(curve)
        .forEach(group => group.classList.toggle("off", !on));
    });
  });

  // A click on the head of a column sorts its table.
  document.querySelectorAll("table.sortable").forEach(table => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach(other => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const key = row => {
          const cell = row.cells[column];
          if (cell.dataset.v === undefined) return cell.textContent;
          return cell.dataset.v === "-inf" ? -Infinity : +cell.dataset.v;
        };
        const rows = [...table.tBodies[0].rows].sort((a, b) => {
          const [one, other] = [key(a), key(b)];
          const order = typeof one === "string" || typeof other === "string"
            ? String(one).localeCompare(String(other)) : one - other || 0;
          return up ? order : -order;
        });
        table.tBodies[0].append(...rows);
      });
    });
  });

  // Light, dark, or whatever the system has.
  const button = document.getElementById("theme");
  const names = ["system", "light", "dark"];
  const set = name => {
    if (name === "system") delete root.dataset.theme; else root.dataset.theme = name;
    button.textContent = `theme: ${name}`;
    button.dataset.name = name;
  };
  let kept = null;
  try { kept = localStorage.getItem("rerax-theme"); } catch { /* a file may have no storage */ }
  set(names.includes(kept) ? kept : "system");
  button.hidden = false;
  button.addEventListener("click", () => {
    set(names[(names.indexOf(button.dataset.name) + 1) % names.length]);
    try { localStorage.setItem("rerax-theme", button.dataset.name); } catch { /* as above */ }
  });
})();
