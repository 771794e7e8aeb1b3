"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const trials = new Map(data.trials.map((trial) => [trial.number, trial]));
  const tip = document.getElementById("tip");
  const panel = document.getElementById("panel");
  const SVG = "http://www.w3.org/2000/svg";

  for (const [group, numbers] of Object.entries(data.points)) {
    const marks = document.getElementById(group).querySelectorAll("use");
    marks.forEach((mark, index) => {
      mark.dataset.trial = numbers[index];
      mark.classList.add("point");
      mark.setAttribute("tabindex", "0");
    });
  }

  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  function shape(name, attributes, text) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  const shown = ([name, value]) => (data.units.includes(name) ? `${value} ${name}` : `${name} ${value}`);

  function hover(event) {
    const mark = event.target.closest("[data-trial]");
    if (!mark) {
      tip.style.display = "none";
      return;
    }
    const trial = trials.get(Number(mark.dataset.trial));
    tip.textContent = `trial ${trial.number} (${trial.origin}): ${trial.facts.map(shown).join(", ")}`;
    tip.style.display = "block";
    const box = mark.getBoundingClientRect();
    const left = Math.min(box.right + 8, document.documentElement.clientWidth - tip.offsetWidth - 8);
    tip.style.left = `${Math.max(8, left) + window.scrollX}px`;
    tip.style.top = `${box.bottom + 8 + window.scrollY}px`;
  }

  function nodesOf(genotype) {
    const row = new Map(genotype.levels.map((level, index) => [level, index]));
    const inputs = genotype.levels.map((level) => ({ x: 0, y: row.get(level), merge: "input", radius: data.radius }));
    const cells = genotype.cells.map((cell, index) => ({
      x: index + 1,
      y: row.get(cell.level),
      merge: cell.merge,
      radius: cell.transform === "none" ? data.bareRadius : data.radius,
    }));
    return [...inputs, ...cells];
  }

  // A quadratic Bezier curve, cut off where it enters the circles at its ends; y upwards.
  function path(start, end, bend) {
    const control = {
      x: (start.x + end.x) / 2 + bend * (end.y - start.y),
      y: (start.y + end.y) / 2 - bend * (end.x - start.x),
    };
    const points = [];
    for (let t = 0; t <= 1; t += 1 / 64) {
      const at = (axis) => (1 - t) ** 2 * start[axis] + 2 * t * (1 - t) * control[axis] + t ** 2 * end[axis];
      const point = { x: at("x"), y: at("y") };
      const away = (node) => Math.hypot(point.x - node.x, point.y - node.y) > node.radius + 0.04;
      if (away(start) && away(end)) points.push(point);
    }
    return points;
  }

  function drawing(trial) {
    const nodes = nodesOf(trial.genotype);
    const curves = trial.arrows.map(([start, end, , bend]) => path(nodes[start], nodes[end], bend));
    const heights = [...nodes, ...curves.flat()].map((point) => point.y);
    const low = Math.min(...heights) - 0.4;
    const high = Math.max(...heights) + 0.4;
    const picture = shape("svg", {
      viewBox: `-1 ${-high} ${trial.genotype.cells.length + 1.8} ${high - low}`,
      role: "img",
      "aria-label": `the cells of trial ${trial.number}`,
    });
    const head = { id: "head", viewBox: "0 0 6 6", refX: 5, refY: 3, markerWidth: 6, markerHeight: 6, orient: "auto" };
    const marker = shape("marker", head);
    marker.append(shape("path", { d: "M0 0L6 3L0 6z", fill: "context-stroke" }));
    const definitions = shape("defs", {});
    definitions.append(marker);
    picture.append(definitions);
    trial.genotype.levels.forEach((level, index) => {
      picture.append(shape("text", { x: -0.45, y: -index + 0.08, "text-anchor": "end", "font-size": 0.25, fill: "currentColor" }, `P${level}`));
    });
    curves.forEach((points, index) => {
      const dangling = trial.arrows[index][2];
      picture.append(
        shape("path", {
          d: points.map((point, place) => `${place ? "L" : "M"}${point.x.toFixed(3)} ${(-point.y).toFixed(3)}`).join(""),
          fill: "none",
          stroke: dangling ? data.danglingColour : "#888",
          "stroke-width": 0.025,
          "stroke-dasharray": dangling ? "0.08 0.06" : "none",
          "marker-end": "url(#head)",
        }),
      );
    });
    nodes.forEach((node, index) => {
      const isOutput = trial.outputs.includes(index);
      picture.append(
        shape("circle", {
          cx: node.x,
          cy: -node.y,
          r: node.radius,
          fill: data.colours[node.merge],
          stroke: isOutput ? "currentColor" : "#444",
          "stroke-width": isOutput ? 0.06 : 0.02,
        }),
        shape("text", { x: node.x, y: -node.y + 0.06, "text-anchor": "middle", "font-size": 0.19, fill: "#010101" }, index),
      );
    });
    return picture;
  }

  function row(cells, head) {
    return element("tr", {}, ...cells.map((text) => element(head ? "th" : "td", {}, String(text))));
  }

  function cellTable(trial) {
    const first = trial.genotype.levels.length;
    const rows = trial.genotype.cells.map((cell, index) => {
      const extra = trial.arrows.filter(([, end, dangling]) => dangling && end === first + index).map(([start]) => start);
      return row([first + index, `P${cell.level}`, cell.merge, cell.inputs.join(" "), extra.join(" "), cell.transform]);
    });
    const head = row(["node", "level", "merge", "of nodes", "dangling adds", "transform"], true);
    return element("div", { class: "table" }, element("table", {}, head, ...rows));
  }

  function open(number) {
    const trial = trials.get(number);
    const close = element("button", { "aria-label": "close" }, "close");
    close.addEventListener("click", () => panel.close());
    const json = element("pre", {}, JSON.stringify(trial.genotype, null, 1));
    panel.replaceChildren(
      element("header", {}, element("h2", {}, `Trial ${number} (${trial.origin})`), close),
      element("p", {}, trial.facts.map(shown).join(", ")),
      drawing(trial),
      cellTable(trial),
      element("p", {}, `${trial.usage[0]} `, element("code", {}, trial.usage[1])),
      element("details", {}, element("summary", {}, "genotype as JSON"), json),
    );
    tip.style.display = "none";
    panel.showModal();
  }

  function chosen(event) {
    const mark = event.target.closest("[data-trial]");
    if (mark && (event.type === "click" || event.key === "Enter")) {
      event.preventDefault(); // else Enter would press the panel's first button as well
      open(Number(mark.dataset.trial));
    } else if (event.type === "click" && event.target === panel) panel.close();
  }

  document.addEventListener("pointerover", hover);
  document.addEventListener("focusin", hover);
  document.addEventListener("click", chosen);
  document.addEventListener("keydown", chosen);

  const all = document.getElementById("all");
  all.addEventListener("toggle", () => {
    if (!all.open || all.querySelector("table")) return;
    const names = [...new Set(data.trials.flatMap((trial) => trial.facts.map(([name]) => name)))];
    const rows = [...data.trials]
      .sort((a, b) => (b.reward ?? -Infinity) - (a.reward ?? -Infinity))
      .map((trial) => {
        const facts = new Map(trial.facts);
        const made = row([trial.number, trial.origin, trial.state, ...names.map((name) => facts.get(name) ?? "")]);
        made.dataset.trial = trial.number;
        return made;
      });
    const head = row(["trial", "origin", "state", ...names], true);
    all.append(element("div", { class: "table" }, element("table", {}, head, ...rows)));
  });
})();
