// The page about a run, and the list of runs: asks the server, shows what it says, and asks again while a run is on.
// It lives in a shadow tree, so that its style and Airflow's do not meet; Airflow's colours come in as variables.

import * as airflow from "./airflow.js";
import * as costs from "./costs.js";
import { h, seconds, moment, clock } from "./elements.js";

const FIRST_SHARDS = 25;
const MORE_SHARDS = 200;
const MOST_SHARDS = 1000; // of a call at a time: as many as the server gives in one answer
const PACE = 4000; // milliseconds between two looks at a run that is on
const STATES = {
  failed: "failed",
  running: "running",
  waiting: "waiting",
  not_started: "not started",
  succeeded: "succeeded",
  skipped: "skipped",
  success: "succeeded",
  queued: "waiting",
};
const PHASES = {
  queue: ["queue", "Airflow's scheduling and the deployment's limits"],
  wait: ["wait", "ECS places the task"],
  pull: ["pull", "the image"],
  stage_in: ["stage-in", "the inputs are fetched"],
  command: ["command", "the command runs"],
  stage_out: ["stage-out", "the outputs are kept"],
  running: ["in ECS", "ECS has the task; no more is known"],
};

/** Shows a run (or, without one, the list of runs) in an element; gives what ends that. */
export function mount(place, wanted) {
  const root = place.shadowRoot ?? place.attachShadow({ mode: "open" });
  const style = h("link", { rel: "stylesheet", href: new URL("run-report.css", import.meta.url).href });
  const content = h("main", { "data-testid": "wdl-runs" }, h("p.muted", { role: "status" }, "Loading…"));
  root.replaceChildren(style, content);
  const shown = wanted.runId ? new RunView(content, wanted) : new ListView(content);
  shown.look();
  return () => shown.end();
}

/** What looks at something again and again. */
class View {
  constructor(content) {
    this.content = content;
    this.ended = false;
    this.wake = () => document.visibilityState === "visible" && this.on && this.look();
    document.addEventListener("visibilitychange", this.wake);
  }

  async look() {
    clearTimeout(this.timer);
    const began = performance.now();
    try {
      this.on = await this.ask();
      this.problem = null;
    } catch (error) {
      this.problem = error;
      this.on = !(error instanceof airflow.Refused) || error.status >= 500;
    }
    if (this.ended) return;
    try {
      this.draw();
    } catch (error) {
      // A server of another version may tell other things.
      this.content.replaceChildren(h("p.problem", { role: "alert" }, `This report cannot be shown: ${error.message}. Load the page anew.`));
    }
    // A server that takes long is asked less often.
    const pause = Math.max(PACE, 3 * (performance.now() - began));
    if (this.on && document.visibilityState === "visible") this.timer = setTimeout(() => this.look(), pause);
  }

  /** Draws everything anew; what has the focus keeps it. */
  draw() {
    const root = this.content.getRootNode();
    const active = root.activeElement;
    const key = active?.dataset.key;
    const same = () => [...root.querySelectorAll(`[data-key="${CSS.escape(key)}"]`)];
    const place = key ? same().indexOf(active) : -1; // a shard that failed has its links twice
    this.content.replaceChildren(...[this.problem && this.complaint(), ...this.parts()].filter(Boolean));
    if (key) (same()[place] ?? same()[0])?.focus({ preventScroll: true });
  }

  complaint() {
    const { status, message } = this.problem;
    const login = status === 401 && h("a", { href: airflow.loginPage() }, "Log in to Airflow");
    const text = status === 403 ? "You may not read the runs of this DAG." : message;
    return h("p.problem", { role: "alert", "data-testid": "problem" }, text, " ", login);
  }

  end() {
    this.ended = true;
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.wake);
  }
}

class ListView extends View {
  async ask() {
    this.runs = (await airflow.recentRuns()).runs;
    return this.runs.some((run) => run.state === "running" || run.state === "queued");
  }

  parts() {
    if (!this.runs) return [];
    const rows = this.runs.map((run) =>
      h(
        "tr",
        { "data-testid": "run-row" },
        h("td", {}, h("a", { href: airflow.reportTab(run.dag_id, run.run_id), "data-key": `${run.dag_id}/${run.run_id}` }, run.dag_id)),
        h("td.code", {}, run.run_id),
        h("td", {}, state(run.state)),
        h("td", {}, moment(run.started)),
        h("td.number", {}, run.started && seconds((run.ended ?? Date.now() / 1000) - run.started)),
      ),
    );
    const head = h("tr", {}, ...["DAG", "Run", "State", "Started", "Duration"].map((name) => h("th", {}, name)));
    return [
      h("h1", {}, "WDL runs"),
      rows.length
        ? h("table.runs", { "data-testid": "run-list" }, h("thead", {}, head), h("tbody", {}, rows))
        : h("p.muted", { "data-testid": "no-runs" }, "No DAG with a WDL workflow has run yet."),
    ];
  }
}

class RunView extends View {
  constructor(content, wanted) {
    super(content);
    this.wanted = wanted;
    this.run = { dagId: wanted.dagId, runId: wanted.runId, scope: wanted.scope };
    this.open = new Set();
    this.logs = new Map(); // of an attempt and a name: the element that shows the text
    this.more = new Map(); // of a call: which of its shards are wanted, from which on and how many, and those that there are
    this.chosen = null; // in a task instance's tab: its call, and its own shards
  }

  async ask() {
    const answer = await airflow.report(this.run);
    this.answer = answer;
    this.report = answer.report;
    if (this.wanted.taskId && !this.run.scope) {
      const { taskId, mapIndex } = this.wanted;
      // An operator on its own, or a workflow that is a task group, perhaps in another.
      const own = answer.scopes
        .filter((scope) => [taskId, `${taskId}[${mapIndex}]`].includes(scope) || taskId.startsWith(`${scope}.`))
        .sort((one, other) => other.length - one.length)[0];
      if (own && this.report?.scope !== own) {
        this.run.scope = own;
        return this.ask();
      }
    }
    if (this.report) await Promise.all([this.askChosen(), ...[...this.more.keys()].map((call) => this.askMore(call))]);
    const active = ["running", "queued"].includes(answer.run.state);
    return active || (this.report?.calls ?? []).some((call) => call.unread);
  }

  /** The call or shard that the page is asked to show. */
  async askChosen() {
    const { taskId, mapIndex } = this.wanted;
    const name = taskId?.startsWith(`${this.report.scope}.`) ? taskId.slice(this.report.scope.length + 1) : taskId;
    const call = this.report.calls.find(({ id }) => id === (name ?? this.wanted.call));
    if (!call) return;
    const shard = this.wanted.shard ?? undefined;
    const index = taskId && mapIndex !== undefined && mapIndex !== "-1" ? mapIndex : undefined;
    const { shards } =
      shard !== undefined || index !== undefined
        ? await airflow.shards(this.run, { call: call.id, shard, map_index: index, limit: MORE_SHARDS })
        : call;
    if (!this.chosen) {
      this.open.add(call.id);
      if (shards.length === 1) this.open.add(`${call.id}/${shards[0].key}`);
    }
    this.chosen = { call: call.id, shards };
  }

  async askMore(call) {
    const wanted = this.more.get(call);
    const answer = await airflow.shards(this.run, { call, offset: wanted.offset, limit: wanted.count });
    this.more.set(call, { ...wanted, shards: answer.shards });
  }

  parts() {
    if (!this.answer) return [];
    if (!this.report) return [this.header(), this.failures(), this.nothing()];
    const { report, chosen } = this;
    const alone = chosen && this.wanted.taskId;
    const calls = alone ? report.calls.filter(({ id }) => id === chosen.call) : report.calls;
    return [
      this.header(),
      report.error && h("pre.problem", {}, report.error),
      !alone && this.failures(),
      !alone && this.values("Outputs", "outputs", report.outputs),
      this.timing(calls),
      !alone && costs.section(report),
      !alone && this.values("Inputs", "inputs", report.inputs, this.defaults()),
      this.where(),
    ].filter(Boolean);
  }

  header() {
    const { report, answer, run } = this;
    const begun = answer.run.started;
    const length = begun && (answer.run.ended ?? Date.now() / 1000) - begun;
    const scopes = answer.scopes.length > 1 || (answer.scopes.length && !report?.scope);
    return h(
      "header",
      { "data-testid": "run-header" },
      h(
        "h1",
        {},
        report ? report.workflow : run.dagId,
        " ",
        state(answer.run.state === "success" && report ? report.state : answer.run.state),
      ),
      h(
        "p.muted",
        {},
        "DAG run ",
        h("a", { href: airflow.runPage(run.dagId, run.runId), "data-key": "dag-run", "data-testid": "dag-run-link" }, `${run.dagId} / ${run.runId}`),
        begun ? ` · started ${moment(begun)} · ${seconds(length)}` : "",
        report?.scope ? ` · task ${report.scope}` : "",
      ),
      scopes ? this.scopes() : null,
    );
  }

  scopes() {
    const choose = (scope) => () => {
      this.run.scope = scope;
      this.more.clear();
      this.look();
    };
    const buttons = this.answer.scopes.map((scope) =>
      h("button", { onclick: choose(scope), "aria-pressed": String(scope === this.report?.scope), "data-key": `scope ${scope}` }, scope),
    );
    return h("nav.scopes", { "aria-label": "WDL tasks of this run", "data-testid": "scopes" }, buttons);
  }

  nothing() {
    const text = this.answer.wdl
      ? `The run has not begun: its inputs ${this.answer.failed.length ? "were refused, or could not be checked" : "have not been checked yet"}.`
      : "This DAG runs no WDL workflow and no WDL task, so there is nothing to tell here.";
    return h("p.muted", { "data-testid": this.answer.wdl ? "not-begun" : "not-wdl" }, text);
  }

  failures() {
    const { failures, calls } = this.report ?? { failures: [], calls: [] };
    const beside = this.answer.failed;
    const all = beside.length + calls.reduce((sum, call) => sum + (call.counts.failed ?? 0), 0);
    if (!all) return null;
    return h(
      "section.failures",
      { "data-testid": "failures" },
      h("h2", {}, all === 1 ? "1 failure" : `${all} failures`),
      failures.map((shard) => this.failure(shard)),
      beside.map((instance) => this.failureBeside(instance)),
      all > failures.length + beside.length && h("p.muted", {}, `and ${all - failures.length - beside.length} more`),
    );
  }

  /** Of what is no call, such as the inputs' check and the outputs' evaluation; one that left no reason has a log. */
  failureBeside({ task_id: task, map_index: index, reason }) {
    const href = airflow.taskPage(this.run.dagId, this.run.runId, task, index);
    return h(
      "article",
      { "data-testid": "failure-beside", "data-task": task },
      h("h3", {}, index >= 0 ? `${task}[${index}]` : task),
      reason && h("pre.reason", { "data-testid": "reason" }, reason),
      h("p", {}, reason ? "all that it has told is in its " : "its ", h("a", { href, "data-key": `log of ${task}[${index}]` }, "log in Airflow"), reason ? "" : " says why"),
    );
  }

  failure(shard) {
    const last = shard.attempts.at(-1);
    return h(
      "article",
      { "data-testid": "failure", "data-call": shard.call, "data-shard": shard.key },
      h("h3", {}, this.taskLink(shard, label(shard))),
      h("pre.reason", { "data-testid": "reason" }, shard.reason),
      last && this.logButtons(shard, last, "failure", last.kind === "never_started" ? ["stage-in.log"] : ["stderr", "stdout"]),
    );
  }

  taskLink(shard, text) {
    if (!shard.instance) return text;
    const { task_id: task, map_index: index } = shard.instance;
    const href = airflow.taskPage(this.run.dagId, this.run.runId, task, index);
    return h("a", { href, "data-key": `task ${shard.call}/${shard.key}` }, text);
  }

  defaults() {
    const entries = Object.entries(this.report.defaults);
    if (!entries.length) return null;
    const rows = entries.flatMap(([name, text]) => [h("dt", {}, name), h("dd.code", {}, text)]);
    return this.fold("details.muted", "defaults", `${entries.length} with their defaults`, h("dl.values", {}, rows));
  }

  values(title, name, values, more) {
    if (!values) return null;
    const entries = Object.entries(values);
    const rows = entries.map(([key, value]) => [h("dt", {}, key), h("dd", {}, this.value(value, `${name} ${key}`))]);
    return h(
      "section",
      { "data-testid": name },
      h("h2", {}, title),
      entries.length ? h("dl.values", {}, rows.flat()) : !more && h("p.muted", {}, "none"),
      more,
    );
  }

  /** What opens and closes, and stays as its reader has left it when everything is drawn anew. */
  fold(what, key, text, ...content) {
    const flip = ({ currentTarget }) => (currentTarget.open ? this.open.add(key) : this.open.delete(key));
    return h(what, { open: this.open.has(key), ontoggle: flip }, h("summary", { "data-key": `fold ${key}` }, text), ...content);
  }

  /** A WDL value: files are links, long arrays fold; `place` is where in the run it is. */
  value(value, place) {
    if (typeof value === "string" && value.startsWith("s3://")) return this.file(value);
    if (Array.isArray(value) && value.length) {
      const items = h("ol", { start: 0 }, value.slice(0, 1000).map((item, index) => h("li", {}, this.value(item, `${place}/${index}`))));
      const rest = value.length > 1000 && h("p.muted", {}, `and ${value.length - 1000} more`);
      if (value.length <= 5) return items;
      return this.fold("details", place, `${value.length} values`, items, rest);
    }
    if (value !== null && typeof value === "object" && Object.keys(value).length) {
      return h("dl.values", {}, Object.entries(value).flatMap(([key, one]) => [h("dt", {}, key), h("dd", {}, this.value(one, `${place}/${key}`))]));
    }
    return h("span.code", {}, typeof value === "string" ? value : JSON.stringify(value));
  }

  file(uri) {
    if (uri.endsWith("/")) return h("span.code", {}, uri);
    const said = h("span.problem", { role: "status" });
    const fetchFile = async (event) => {
      event.preventDefault();
      said.replaceChildren();
      try {
        const { url, name } = await airflow.fileAddress(this.run, uri);
        h("a", { href: url, download: name }).click();
      } catch (error) {
        said.replaceChildren(` ${error.message}`);
      }
    };
    const link = h(
      "a.code",
      { href: airflow.fileLink(this.run, uri), title: uri, onclick: fetchFile, "data-key": `file ${uri}`, "data-testid": "file" },
      uri.slice(uri.lastIndexOf("/") + 1),
    );
    return h("span", {}, link, said);
  }

  timing(calls) {
    const axis = this.axis(calls);
    return h(
      "section",
      { "data-testid": "timing" },
      h("h2", {}, "Calls"),
      h("div.legend", { "data-testid": "legend" }, Object.entries(PHASES).map(([name, [text, title]]) => h("span", { title }, h(`i.phase.${name}`), text))),
      h(
        "div.calls",
        { role: "table", "aria-label": "Calls and their times" },
        h("div.row.axis", { role: "row" }, h("span", { role: "columnheader" }, "call"), h("span", { role: "columnheader" }, "state"), h("span.track", { role: "columnheader" }, axis.ticks()), h("span.number", { role: "columnheader" }, "time"), h("span.number.cost", { role: "columnheader" }, "cost")),
        calls.map((call) => this.call(call, axis)),
      ),
      calls.length ? null : h("p.muted", {}, "The workflow has no calls."),
    );
  }

  axis(calls) {
    const now = Date.now() / 1000;
    const begins = calls.map((call) => call.started).filter((at) => at !== null);
    const on = calls.some((call) => call.counts.running);
    const ends = calls.flatMap((call) => call.shards.flatMap((shard) => shard.attempts.map((attempt) => attempt.ended ?? attempt.started)));
    const first = Math.min(...begins, this.answer.run.started ?? Infinity);
    const last = on ? now : Math.max(...ends, ...calls.map((call) => call.ended ?? 0), 0);
    return new Axis(isFinite(first) ? first : now, last, now);
  }

  call(call, axis) {
    const shown = this.shardsOf(call);
    const total = Object.values(call.counts).reduce((sum, count) => sum + count, 0) + call.unread;
    const single = !call.scattered && total === 1;
    const open = this.open.has(call.id);
    const bars = single ? axis.bars(call.shards[0].attempts) : axis.envelope(call);
    const counts = single ? [state(call.state)] : Object.entries(call.counts).map(([name, count]) => state(name, count));
    if (call.cached) counts.push(h("small.muted", { "data-testid": "cached" }, single ? " from the call cache" : ` ${call.cached} from the call cache`));
    const row = h(
      "div.row",
      { role: "row" },
      h(
        "span.name",
        { role: "cell" },
        this.toggle(call.id, h("span", {}, call.id, call.task === call.name ? "" : h("small.muted", {}, ` ${call.task}`))),
      ),
      h("span.states", { role: "cell" }, total ? counts : state("not_started")),
      h("span.track", { role: "cell" }, bars),
      h("span.number", { role: "cell", title: "from its first beginning to its last end" }, call.started !== null && seconds((call.ended ?? axis.last) - call.started)),
      costs.cell(call.cost, this.report.prices, call.unread),
    );
    return h(
      "div.call",
      { role: "rowgroup", "data-testid": "call", "data-call": call.id, "data-state": call.state },
      row,
      open && this.callDetails(call, shown, total, single, axis),
    );
  }

  shardsOf(call) {
    if (this.chosen?.call === call.id && this.wanted.taskId) return this.chosen.shards;
    const { offset = 0, shards: more = call.shards } = this.more.get(call.id) ?? {};
    const chosen = this.chosen?.call === call.id && this.wanted.shard && !offset ? this.chosen.shards : [];
    return [...chosen, ...more.filter(({ key }) => !chosen.some((one) => one.key === key))];
  }

  callDetails(call, shown, total, single, axis) {
    const spent = Object.entries(call.seconds).map(([name, length]) => `${PHASES[name][0]} ${seconds(length)}`);
    return h(
      "div.details",
      {},
      !single && spent.length ? h("p.muted", {}, `median of the shards: ${spent.join(" · ")}; ${call.attempts} ECS task${call.attempts === 1 ? "" : "s"}`) : null,
      usage(call.usage, !single),
      call.unread ? h("p.muted", { role: "status" }, `${call.unread} more shards are being read`) : null,
      single ? this.attempts(shown[0]) : shown.map((shard) => this.shard(shard, axis)),
      !this.wanted.taskId && this.otherShards(call, shown.length, total - call.unread),
      call.command.trim() && this.fold("details.template", `command ${call.id}`, "command of the task", h("pre", {}, call.command)),
    );
  }

  /** Buttons that show more shards of a call; when as many as a page holds are shown, those after or before them. */
  otherShards(call, shown, all) {
    const { offset = 0, count = FIRST_SHARDS } = this.more.get(call.id) ?? {};
    const rest = all - offset - shown;
    const button = (what, text, wanted) => {
      const show = () => {
        this.more.set(call.id, { ...this.more.get(call.id), ...wanted });
        this.look();
      };
      return h("button", { onclick: show, "data-key": `${what} ${call.id}`, "data-testid": what }, text);
    };
    const next = count < MOST_SHARDS ? { count: Math.min(MOST_SHARDS, shown + MORE_SHARDS) } : { offset: offset + MOST_SHARDS };
    const buttons = [
      offset > 0 && button("before", `${offset} before these`, { offset: offset - MOST_SHARDS }),
      rest > 0 && button("more", `${rest} more`, next),
    ].filter(Boolean);
    return buttons.length ? h("p.buttons", {}, buttons) : null;
  }

  shard(shard, axis) {
    const key = `${shard.call}/${shard.key}`;
    return h(
      "div.shard",
      { "data-testid": "shard", "data-call": shard.call, "data-shard": shard.key, "data-state": shard.state },
      h(
        "div.row",
        { role: "row" },
        h("span.name", { role: "cell" }, this.toggle(key, h("span", {}, shard.key === "_" ? shard.call : `[${shard.key.replaceAll(".", ", ")}]`, shard.label && h("small.muted", {}, ` ${shard.label}`)))),
        h("span.states", { role: "cell" }, state(shard.state)),
        h("span.track", { role: "cell" }, axis.bars(shard.attempts)),
        h("span.number", { role: "cell" }, axis.length(shard.attempts)),
        costs.cell(shard.cost, this.report.prices),
      ),
      this.open.has(key) && this.attempts(shard),
    );
  }

  toggle(key, text) {
    const flip = () => {
      if (!this.open.delete(key)) this.open.add(key);
      this.draw();
    };
    const expanded = String(this.open.has(key));
    return h("button.toggle", { onclick: flip, "aria-expanded": expanded, "data-key": key, "data-testid": "toggle" }, text);
  }

  attempts(shard) {
    if (!shard) return null;
    const none = shard.reason || "No ECS task has been started.";
    return h(
      "div.attempts",
      { "data-testid": "attempts" },
      h("p", {}, this.taskLink(shard, shard.instance ? "task instance in Airflow" : "")),
      shard.attempts.length ? shard.attempts.map((attempt) => this.attempt(shard, attempt)).reverse() : h("p.muted", {}, none),
    );
  }

  attempt(shard, attempt) {
    const links = attempt.links ?? {};
    const linked = (text, href) => (href ? h("a", { href, target: "_blank", rel: "noopener noreferrer" }, text) : text);
    const spent = attempt.phases.map((phase) => `${PHASES[phase.name][0]} ${seconds((phase.ended ?? Date.now() / 1000) - phase.started)}`);
    const facts = [
      ["reason", attempt.reason],
      ["call cache", attempt.cache],
      ["exit code", attempt.exit_code],
      ["image", attempt.image],
      ["asked", attempt.asked],
      ["used", attempt.usage?.in_words],
      ["given", [attempt.given, attempt.launch_type, attempt.spot && "Spot"].filter(Boolean).join(", ")],
      ["started", moment(attempt.started)],
      ["times", spent.join(" · ")],
      ["cost", costs.inWords(attempt.cost, this.report.prices)],
      ["ECS task", linked(attempt.arn, links.task)],
      ["log", attempt.log_streams.command && linked(`${attempt.log_group} ${attempt.log_streams.command}`, links.log)],
      ["S3 folder", linked(attempt.folder, links.folder)],
    ].filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false);
    const ended = ["stdout", "stderr", "command.sh"];
    const names = attempt.state === "running" ? ["live", "command.sh"] : attempt.kind === "never_started" ? ["stage-in.log", "command.sh"] : ended;
    return h(
      "article.attempt",
      { "data-testid": "attempt", "data-attempt": attempt.number },
      h("h3", {}, attempt.cached ? "Taken from the call cache " : `Attempt ${attempt.number + 1} `, state(attempt.state), h("small.muted", {}, ` try ${attempt.try_number} of Airflow`)),
      h("dl.facts", {}, facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd.code", {}, value)])),
      this.logButtons(shard, attempt, "attempt", names),
    );
  }

  /** Buttons that show what an attempt has left, and what is shown of it. */
  logButtons(shard, attempt, where, names) {
    const shown = [];
    const buttons = names.map((name) => {
      const key = `${where} ${shard.call}/${shard.key}/${attempt.number}/${name}`;
      if (this.logs.has(key)) shown.push(this.logs.get(key));
      const flip = async () => {
        if (this.logs.delete(key)) return this.draw();
        const text = h("pre.log", { tabindex: 0, "aria-label": name, "data-testid": "log", "data-name": name }, "Loading…");
        this.logs.set(key, text);
        this.draw();
        try {
          const wanted = { call: shard.call, shard: shard.key, attempt: attempt.number, name };
          text.textContent = (await airflow.logText(this.run, wanted)) || "(empty)";
        } catch (error) {
          text.textContent = error.message;
        }
        text.scrollTop = text.scrollHeight;
      };
      const title = name === "live" ? "log so far" : name;
      return h("button", { onclick: flip, "aria-pressed": String(this.logs.has(key)), "data-key": key, "data-testid": "log-button", "data-name": name }, title);
    });
    return h("div.logs", {}, h("div.buttons", {}, buttons), shown);
  }

  where() {
    const { folder, published } = this.report;
    return h(
      "footer.muted",
      {},
      "Everything of the run is in ",
      h("span.code", { "data-testid": "folder" }, folder),
      published && [". Its outputs are published by ", h("span.code", { "data-testid": "published" }, published)],
    );
  }
}

/** The common axis of all bars: moments become places, in per cent. */
class Axis {
  constructor(first, last, now) {
    this.first = first;
    this.last = Math.max(last, first + 1);
    this.now = now;
  }

  place(at) {
    return (100 * (Math.min(Math.max(at, this.first), this.last) - this.first)) / (this.last - this.first);
  }

  bar(what, from, to, title) {
    const start = this.place(from);
    const at = { left: `${start}%`, width: `${Math.max(this.place(to) - start, 0.15)}%` };
    return h(what, { title, at });
  }

  bars(attempts) {
    const made = attempts.flatMap((attempt) =>
      attempt.phases.map((phase) => {
        const end = phase.ended ?? this.now;
        const [text] = PHASES[phase.name];
        const title = `attempt ${attempt.number + 1}: ${text} ${seconds(end - phase.started)}, from ${clock(phase.started)}`;
        return this.bar(`i.phase.${phase.name}${attempt.state === "failed" ? ".lost" : ""}`, phase.started, end, title);
      }),
    );
    const told = attempts.flatMap((attempt) => attempt.phases.map((phase) => `${PHASES[phase.name][0]} ${seconds((phase.ended ?? this.now) - phase.started)}`));
    return [...made, h("span.unseen", {}, told.join(", "))];
  }

  envelope(call) {
    if (call.started === null) return [];
    const end = call.ended ?? this.last;
    return [this.bar(`i.envelope.${call.state}`, call.started, end, `all shards: ${seconds(end - call.started)}, from ${clock(call.started)}`)];
  }

  length(attempts) {
    const starts = attempts.map((attempt) => attempt.phases[0]?.started ?? attempt.started);
    const last = attempts.at(-1);
    return last ? seconds((last.ended ?? (last.state === "running" ? this.now : NaN)) - Math.min(...starts)) : "";
  }

  ticks() {
    const length = this.last - this.first;
    return [0, 0.25, 0.5, 0.75, 1].map((part) =>
      h("small", { at: part === 1 ? { right: 0 } : { left: `${100 * part}%` } }, part ? seconds(length * part) : "0"),
    );
  }
}

/** What the commands of a call have used, unless their attempts say so, and what may be worth to change. */
function usage(used, all) {
  if (!used || (!all && !used.advice.length)) return null;
  const shards = used.shards > 1 ? ` (${used.shards} shards)` : "";
  return h(
    "div.usage",
    { "data-testid": "usage" },
    all && h("p.muted", {}, `used: ${used.in_words}${shards}`),
    used.advice.map((text) => h("p.advice", { "data-testid": "advice" }, text)),
  );
}

const label = (shard) =>
  shard.key === "_" ? shard.call : `${shard.call}[${shard.key.replaceAll(".", ", ")}]${shard.label ? ` ${shard.label}` : ""}`;

function state(name, count) {
  const text = STATES[name] ?? name;
  return h(`span.state.${STATES[name] ? text.replace(" ", "_") : "unknown"}`, { "data-testid": "state" }, count === undefined ? text : `${count} ${text}`);
}
