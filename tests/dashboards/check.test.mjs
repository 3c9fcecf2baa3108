// The check is trusted because it has been seen to fail: each of these breaks one thing in a copy.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "node:test";

const here = dirname(fileURLToPath(import.meta.url));
const whole = readFileSync(join(here, "../../grafana/dashboards/failover.json"), "utf8");

const breakages = {
  "a misspelt option": [(d) => (stat(d).options.colorMod = "value"), /colorMod/],
  "an option's value that does not exist": [(d) => (stat(d).options.colorMode = "valu"), /"valu"/],
  "a number that is no choice": [(d) => (d.graphTooltip = 7), /7/],
  "a misspelt field setting": [(d) => (stat(d).fieldConfig.defaults.unitt = "s"), /unitt/],
  "a style that the panel type lacks": [(d) => (lines(d).fieldConfig.defaults.custom.drawStyle = "lin"), /"lin"/],
  "an unknown panel type": [(d) => (stat(d).type = "graph"), /"graph"/],
  "a panel without a unit": [(d) => delete stat(d).fieldConfig.defaults.unit, /'unit' is missing/],
  "a panel without a description": [(d) => delete stat(d).description, /'description' is missing/],
  "a panel without a query": [(d) => (stat(d).targets = []), /Source has 0 element/],
  "another data source": [(d) => (stat(d).targets[0].datasource.uid = "other"), /"other"/],
  "a window below four scrapes": [(d) => (stat(d).targets[0].expr = "rate(x[5s])"), /below four scrapes/],
  "a misspelt field of a mark": [(d) => (mark(d).textFormatt = "x"), /textFormatt/],
  "a mark that looks at too little": [(d) => (mark(d).target.expr = "rate(x[5s])"), /mark "Worker": a window below/],
  "a panel over another": [(d) => (lines(d).gridPos.y = 0), /covers panel/],
  "thresholds that fall": [(d) => (stat(d).fieldConfig.defaults.thresholds.steps = [{ color: "red", value: null }, { color: "green", value: 2 }, { color: "red", value: 1 }]), /do not rise/],
};
const stat = (dashboard) => dashboard.panels.find((panel) => panel.type === "stat");
const mark = (dashboard) => dashboard.annotations.list[0];
const lines = (dashboard) => dashboard.panels.find((panel) => panel.type === "timeseries");

function check(dashboard) {
  const folder = mkdtempSync(join(tmpdir(), "dashboards-"));
  try {
    writeFileSync(join(folder, "glance.json"), JSON.stringify(dashboard));
    const { status, stderr } = spawnSync(process.execPath, [join(here, "check.mjs"), folder], { encoding: "utf8" });
    return { status, stderr };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("a dashboard that is right passes", () => {
  assert.deepEqual(check(JSON.parse(whole)), { status: 0, stderr: "" });
});

for (const [name, [breakIt, expected]] of Object.entries(breakages)) {
  test(`${name} is found`, () => {
    const dashboard = JSON.parse(whole);
    breakIt(dashboard);
    const { status, stderr } = check(dashboard);
    assert.equal(status, 1);
    assert.match(stderr, expected);
  });
}
