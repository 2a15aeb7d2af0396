// What ECS tasks have used and cost, in words. A cost is a value of the report; nothing here asks for anything.

import { h } from "./elements.js";

const QUANTITIES = {
  vcpu_hours: "vCPU-h",
  gb_hours: "GB-h",
  storage_gb_hours: "GB-h of disk",
  ebs_gb_hours: "GB-h of EBS volumes",
  gpu_hours: "GPU-h",
};
const SMALLEST = 0.0001;

const number = (amount) => (amount === 0 ? "0" : amount < SMALLEST ? `<${SMALLEST}` : amount.toFixed(4));
const tasks = (count) => `${count} ECS task${count === 1 ? "" : "s"}`;
const shards = (count) => (count === 1 ? "1 shard that is" : `${count} shards that are`);

/** The amount, such as "0.0033 USD"; with a + if there is something of which it is not known, unread shards among it. */
export function amount(cost, prices, unread = 0) {
  if (!cost) return "";
  if (cost.amount === null) return cost.unpriced ? "no price" : "";
  return `${number(cost.amount)}${cost.unpriced || cost.unknown || unread ? "+" : ""} ${prices?.currency ?? ""}`.trim();
}

/** The hours, such as "0.0667 vCPU-h · 0.1333 GB-h". */
export function hours(cost) {
  const found = Object.entries(QUANTITIES).filter(([name]) => cost?.[name]);
  return found.map(([name, unit]) => `${number(cost[name])} ${unit}`).join(" · ");
}

/** What is to be known of an amount, each a sentence. */
export function remarks(cost, prices, unread = 0) {
  return [
    cost.unpriced && `${tasks(cost.unpriced)} without a price${prices?.problem ? "" : `: ${cost.why.join("; ")}`}`,
    cost.estimated && `${tasks(cost.estimated)} of which ECS has not told all times: at least these hours`,
    cost.unknown && `in no sum: ${tasks(cost.unknown)} of which no time is known`,
    cost.running && `in no sum: ${tasks(cost.running)} not known to have ended`,
    unread && `in no sum: ${shards(unread)} still being read`,
  ].filter(Boolean);
}

/** Hours and amount in one line, with the remarks. */
export function inWords(cost, prices, unread = 0) {
  return cost ? [hours(cost), amount(cost, prices, unread), ...remarks(cost, prices, unread)].filter(Boolean).join(" · ") : "";
}

/** A row's cell. */
export const cell = (cost, prices, unread = 0) =>
  h("span.number.cost", { role: "cell", title: inWords(cost, prices, unread), "data-testid": "cost" }, amount(cost, prices, unread));

/** The run's own, and what it was counted with; nothing where no ECS task has been started. */
export function section(report) {
  const { cost, prices } = report;
  if (!cost || !(cost.tasks || cost.unknown || cost.running)) return null;
  const unread = report.calls.reduce((sum, call) => sum + call.unread, 0);
  const source = prices.problem ? `No prices: ${prices.problem}` : cost.amount !== null && `Prices of ${prices.date}. ${prices.source}`;
  return h(
    "section",
    { "data-testid": "costs" },
    h("h2", {}, "Used and cost"),
    h("p", {}, [hours(cost), amount(cost, prices, unread)].filter(Boolean).join(" · ")),
    remarks(cost, prices, unread).map((remark) => h("p.muted", {}, remark)),
    source && h("p.muted", {}, source),
  );
}
