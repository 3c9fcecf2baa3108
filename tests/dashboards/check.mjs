// Checks dashboards against Grafana's published types and against what types cannot say.
//
//     npm ci && node check.mjs [folder of dashboards]
//
// Ends with 0 when every dashboard is right, with 1 and one line a mistake otherwise.
import { readFileSync, readdirSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const here = dirname(fileURLToPath(import.meta.url));
const folder = resolve(process.argv[2] ?? join(here, "../../grafana/dashboards"));
const files = readdirSync(folder).filter((name) => name.endsWith(".json")).sort();
const mistakes = [];
const dashboards = new Map();

for (const file of files) {
  try {
    dashboards.set(file, JSON.parse(readFileSync(join(folder, file), "utf8")));
  } catch (error) {
    mistakes.push(`${file}: ${error.message}`);
  }
}
if (files.length === 0) mistakes.push(`${folder}: no dashboards`);

mistakes.push(...typeMistakes(), ...otherMistakes(), ...versionMistakes());
for (const mistake of mistakes) console.error(mistake);
console.log(`${dashboards.size} dashboards, ${mistakes.length} mistakes`);
process.exit(mistakes.length === 0 ? 0 : 1);

/** Each dashboard becomes a constant of type `Dashboard` in a file that exists only in memory. */
function typeMistakes() {
  const { options } = ts.parseJsonConfigFileContent(
    ts.readConfigFile(join(here, "tsconfig.json"), ts.sys.readFile).config,
    ts.sys,
    here,
  );
  const sources = new Map();
  for (const file of dashboards.keys()) {
    const text = readFileSync(join(folder, file), "utf8");
    const head = 'import type { Dashboard } from "./dashboard.js";\nexport const dashboard: Dashboard =\n';
    sources.set(join(here, `${basename(file, ".json")}.checked.ts`), { file, text: `${head}${text};\n` });
  }
  const host = ts.createCompilerHost(options);
  const { fileExists, getSourceFile } = host;
  host.fileExists = (path) => sources.has(resolve(path)) || fileExists(path);
  host.getSourceFile = (path, ...rest) => {
    const source = sources.get(resolve(path));
    return source ? ts.createSourceFile(path, source.text, ts.ScriptTarget.ES2022) : getSourceFile(path, ...rest);
  };
  const program = ts.createProgram([...sources.keys()], options, host);
  return ts.getPreEmitDiagnostics(program).map((found) => {
    const source = found.file && sources.get(resolve(found.file.fileName));
    const line = found.file ? found.file.getLineAndCharacterOfPosition(found.start).line : 0;
    // Two lines stand before the JSON text.
    const place = source ? `${source.file}:${line - 1}` : (found.file?.fileName ?? "settings");
    return `${place}: ${ts.flattenDiagnosticMessageText(found.messageText, "\n    ")}`;
  });
}

/** What types cannot say: names are unique, nothing overlaps, legends and words are there. */
function otherMistakes() {
  const found = [];
  const uids = new Map();
  for (const [file, dashboard] of dashboards) {
    const say = (text) => found.push(`${file}: ${text}`);
    if (uids.has(dashboard.uid)) say(`uid ${dashboard.uid} is that of ${uids.get(dashboard.uid)} too`);
    uids.set(dashboard.uid, file);
    if (!dashboard.tags?.includes("boxoffice")) say("the tag boxoffice is missing: links would not find it");
    for (const mark of dashboard.annotations?.list ?? []) shortWindows(mark.target?.expr, (text) => say(`mark "${mark.name}": ${text}`));
    const panels = Array.isArray(dashboard.panels) ? dashboard.panels : [];
    const ids = new Set();
    panels.forEach((panel, index) => {
      const name = `panel ${panel.id} "${panel.title}"`;
      if (ids.has(panel.id)) say(`${name}: its id is used twice`);
      ids.add(panel.id);
      const at = panel.gridPos ?? { x: 0, y: 0, w: 0, h: 0 };
      if (at.x < 0 || at.w < 1 || at.x + at.w > 24) say(`${name}: stands outside of the 24 columns`);
      for (const other of panels.slice(0, index)) {
        const to = other.gridPos ?? at;
        const beside = at.x + at.w <= to.x || to.x + to.w <= at.x || at.y + at.h <= to.y || to.y + to.h <= at.y;
        if (!beside) say(`${name}: covers panel ${other.id} "${other.title}"`);
      }
      if (panel.type === "row") return;
      if (!(panel.description?.length > 10)) say(`${name}: says too little about itself`);
      const steps = panel.fieldConfig?.defaults?.thresholds?.steps ?? [];
      steps.forEach((step, place) => {
        const low = place === 0 ? null : (steps[place - 1].value ?? -Infinity);
        if (place === 0 ? step.value !== null : !(step.value > low)) say(`${name}: thresholds do not rise`);
      });
      const refs = new Set();
      for (const target of panel.targets ?? []) {
        if (refs.has(target.refId)) say(`${name}: refId ${target.refId} is used twice`);
        refs.add(target.refId);
        const expr = target.expr ?? "";
        if (/\bby \((?!le\))/.test(expr) && /^(timeseries|state-timeline|bargauge)$/.test(panel.type) && !target.legendFormat) {
          say(`${name}: query ${target.refId} has no legend`);
        }
        shortWindows(expr, (text) => say(`${name}: ${text}`));
      }
    });
  }
  return found;
}

/** A scrape may be late or missing: fewer than four in a window say little. */
function shortWindows(expr, say) {
  for (const [, size, unit] of (expr ?? "").matchAll(/\[(\d+)([smh])\]/g)) {
    if (size * { s: 1, m: 60, h: 3600 }[unit] < 20) say(`a window below four scrapes: [${size}${unit}]`);
  }
}

/** The types are those of the Grafana that is run. */
function versionMistakes() {
  const types = JSON.parse(readFileSync(join(here, "package.json"), "utf8")).dependencies["@grafana/schema"];
  const compose = readFileSync(join(here, "../../deploy/grafana/on.yml"), "utf8");
  const image = compose.match(/grafana\/grafana:([0-9.]+)/)?.[1];
  return image === types ? [] : [`the types are of Grafana ${types}, deploy/grafana/on.yml runs ${image}`];
}
