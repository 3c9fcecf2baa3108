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

/** Each copy with one thing broken, and one that is whole, go through the check together: it starts slowly. */
function check() {
  const folder = mkdtempSync(join(tmpdir(), "dashboards-"));
  try {
    const write = (file, breakIt) => {
      const dashboard = { ...JSON.parse(whole), uid: file };
      breakIt(dashboard);
      writeFileSync(join(folder, `${file}.json`), JSON.stringify(dashboard));
    };
    write("whole", () => {});
    Object.values(breakages).forEach(([breakIt], number) => write(`broken-${number}`, breakIt));
    const { status, stderr } = spawnSync(process.execPath, [join(here, "check.mjs"), folder], { encoding: "utf8" });
    const of = (file) => stderr.split(/^(?=\S+\.json:)/m).filter((mistake) => mistake.startsWith(`${file}.json:`)).join("");
    return { status, of };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const { status, of } = check();

test("mistakes end the check with 1", () => assert.equal(status, 1));
test("a dashboard that is right passes", () => assert.equal(of("whole"), ""));
Object.entries(breakages).forEach(([name, [, expected]], number) => {
  test(`${name} is found`, () => assert.match(of(`broken-${number}`), expected));
});
