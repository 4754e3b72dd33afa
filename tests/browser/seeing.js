// Returns every visible text whose contrast with what lies behind it is below WCAG AA, as "ratio text (colours)".
() => {
  const parse = (text) => [...text.matchAll(/rgba?\(([^)]+)\)|color\(srgb ([^)]+)\)/g)].map((m) => {
    const n = (m[1] || m[2]).split(/[\s,/]+/).filter(Boolean).map(Number);
    const rgb = m[1] ? n.slice(0, 3) : n.slice(0, 3).map((v) => v * 255);
    return [...rgb, n.length > 3 ? n[3] : 1];
  });
  const over = (top, under) => [0, 1, 2].map((k) => top[k] * top[3] + under[k] * (1 - top[3])).concat(1);
  const light = (c) => { const v = c.slice(0, 3).map((x) => x / 255).map((x) => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4); return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  // A gradient counts as each of its colours.
  const behind = (element) => {
    const own = getComputedStyle(element);
    const painted = own.backgroundImage !== "none" ? parse(own.backgroundImage) : parse(own.backgroundColor).filter((c) => c[3] > 0);
    if (!painted.length) return element.parentElement ? behind(element.parentElement) : [[255, 255, 255, 1]];
    if (painted.every((c) => c[3] === 1)) return painted;
    return painted.flatMap((c) => (element.parentElement ? behind(element.parentElement) : [[255, 255, 255, 1]]).map((u) => over(c, u)));
  };
  const poor = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode.textContent.trim(), element = texts.currentNode.parentElement;
    if (!text || !element.checkVisibility() || element.closest(".unseen, .skip, noscript")) continue;
    const style = getComputedStyle(element);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    for (const back of behind(element)) {
      const found = ratio(over(parse(style.color)[0], back), back);
      if (found < (large ? 3 : 4.5)) poor.push(`${found.toFixed(2)} ${text} (${style.color} on ${back})`);
    }
  }
  return poor;
}
