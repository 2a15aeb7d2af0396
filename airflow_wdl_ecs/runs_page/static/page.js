// The page on its own, /wdl-runs/page?dag_id=&run_id=&call=&shard=&scope=, outside of Airflow's own interface.

import { mount } from "./run-report.js";

// Airflow's interface keeps the theme that the user has chosen here.
const chosen = localStorage.getItem("theme");
document.documentElement.style.colorScheme = chosen === "light" || chosen === "dark" ? chosen : "light dark";

const asked = new URLSearchParams(location.search);
mount(document.getElementById("wdl-runs"), {
  dagId: asked.get("dag_id"),
  runId: asked.get("run_id"),
  call: asked.get("call"),
  shard: asked.get("shard"),
  scope: asked.get("scope"),
});
