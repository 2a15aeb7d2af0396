// Makes elements. Values only ever become text or attributes: nothing that a run holds can become markup or a script.

/** An element: h("a.link", {href}, "text", child, null ...); null and false children are left out. */
export function h(what, attributes = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  const made = document.createElement(tag);
  if (classes.length) made.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "onclick" || name === "ontoggle") made[name] = value;
    else if (name === "href") made.setAttribute("href", harmless(value));
    else if (name === "at") Object.assign(made.style, value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** An address that leads to a page, never to a script. */
function harmless(address) {
  const { protocol } = new URL(address, location.href);
  return protocol === "https:" || protocol === "http:" ? address : "about:blank";
}

export function seconds(length) {
  if (length === undefined || length === null || !isFinite(length)) return "";
  const whole = Math.max(0, length);
  if (whole < 9.95) return `${whole.toFixed(1)} s`;
  if (whole < 119.5) return `${Math.round(whole)} s`;
  const minutes = Math.round(whole / 60);
  return minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

export const moment = (at) => (at ? new Date(at * 1000).toLocaleString() : "");
export const clock = (at) => new Date(at * 1000).toLocaleTimeString();
