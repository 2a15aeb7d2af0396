// The views of Airflow's interface: the page "WDL runs", and the tabs of a DAG run and of a task instance. Airflow
// imports this script and renders the function that it finds under the plugin's name, with its own React.

import { mount } from "./run-report.js";

const { createElement, useEffect, useRef } = globalThis.React;

function WdlRuns({ dagId, runId, taskId, mapIndex }) {
  const place = useRef(null);
  useEffect(
    () => mount(place.current, { dagId, runId, taskId, mapIndex, inAirflow: true }),
    [dagId, runId, taskId, mapIndex],
  );
  return createElement("div", { ref: place, style: { height: "100%", overflow: "auto" } });
}

globalThis["WDL runs"] = WdlRuns;
globalThis.AirflowPlugin = WdlRuns;
