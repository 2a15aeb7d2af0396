// What the page asks its server and Airflow for. Answers are values; nothing here touches the document.

/** Airflow's base path, such as "/" or "/airflow/": this script is at <base>wdl-runs/static/. */
export const BASE = new URL("../../", import.meta.url).pathname;
const API = `${BASE}wdl-runs/api/runs`;
const word = encodeURIComponent;

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(path, accept = "application/json") {
  const headers = { Accept: accept };
  // Airflow 3.1 keeps the user's token here, later versions in a cookie that scripts cannot read.
  const token = localStorage.getItem("token");
  if (token) headers.Authorization = `Bearer ${token}`;
  const answer = await fetch(path, { headers, credentials: "same-origin", cache: "no-store" });
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    const detail = typeof said.detail === "string" ? said.detail : `the server answered ${answer.status}`;
    throw new Refused(answer.status, detail);
  }
  return answer;
}

function query(values) {
  const given = Object.entries(values).filter(([, value]) => value !== undefined && value !== null);
  return given.length ? `?${given.map(([name, value]) => `${name}=${word(value)}`).join("&")}` : "";
}

const runPath = (run) => `${API}/${word(run.dagId)}/${word(run.runId)}`;

export const recentRuns = async () => (await ask(API)).json();
export const report = async (run) => (await ask(runPath(run) + query({ scope: run.scope }))).json();
export const shards = async (run, wanted) =>
  (await ask(`${runPath(run)}/shards${query({ scope: run.scope, ...wanted })}`)).json();
export const logText = async (run, wanted) =>
  (await ask(`${runPath(run)}/log${query({ scope: run.scope, ...wanted })}`, "text/plain")).text();
export const fileLink = (run, uri) => `${runPath(run)}/file${query({ scope: run.scope, uri })}`;
export const fileAddress = async (run, uri) => (await ask(fileLink(run, uri))).json();

// Where Airflow's own interface shows things.
export const loginPage = () => `${BASE}api/v2/auth/login${query({ next: location.href })}`;
export const runPage = (dagId, runId) => `${BASE}dags/${word(dagId)}/runs/${word(runId)}`;
export const reportTab = (dagId, runId) => `${runPage(dagId, runId)}/plugin/wdl-run`;
export const taskPage = (dagId, runId, taskId, mapIndex) =>
  `${runPage(dagId, runId)}/tasks/${word(taskId)}${mapIndex >= 0 ? `/mapped/${mapIndex}` : ""}`;
