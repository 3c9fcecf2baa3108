// What a dashboard of ours may be: Grafana's published types, without what we do not use.
//
// Grafana's own `Panel` leaves options, custom field settings and queries open, because any plugin
// may stand there. Here each panel type is bound to the types of its plugin, so that a misspelt
// option is an error. A JSON file has strings where the types have enums: `Plain` turns each enum
// into its values.
import type { DataQuery, DataSourceRef } from "@grafana/schema";
import type * as raw from "@grafana/schema/dist/esm/raw/dashboard/x/Dashboard_types.gen";
import type * as bargauge from "@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen";
import type * as stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as statetimeline from "@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen";
import type * as timeseries from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

/** A type as it stands in JSON: enums are their values. */
type Plain<T> = T extends string
  ? `${T}`
  : T extends number
    ? `${T}` extends `${infer Value extends number}`
      ? Value
      : never
    : T extends object
      ? { [Key in keyof T]: Plain<T[Key]> }
      : T;

/** The one data source that is provisioned. */
type Prometheus = Plain<DataSourceRef> & { type: "prometheus"; uid: "prometheus" };

/** A query to Prometheus: Grafana's common part, and the fields of the data source that we use. */
interface Query extends Omit<Plain<DataQuery>, "datasource"> {
  datasource: Prometheus;
  expr: string;
  legendFormat?: string;
  range?: boolean;
  instant?: boolean;
}

type Required_<T, Keys extends keyof T> = Omit<T, Keys> & { [Key in Keys]-?: T[Key] };

/** A panel that asks something, with what every panel of ours has: nothing is left unsaid. */
type Asking<Type extends string, Options, Custom> = Omit<
  Required_<Plain<raw.Panel>, "id" | "title" | "description" | "gridPos">,
  "type" | "datasource" | "targets" | "options" | "fieldConfig"
> & {
  type: Type;
  datasource: Prometheus;
  targets: [Query, ...Query[]];
  options: Plain<Options>;
  fieldConfig: Omit<Plain<raw.FieldConfigSource>, "defaults"> & {
    defaults: Omit<Required_<Plain<raw.FieldConfig>, "unit" | "color">, "custom"> & {
      custom?: Plain<Custom>;
    };
  };
};

type Panel =
  | Asking<"timeseries", timeseries.Options, timeseries.FieldConfig>
  | Asking<"stat", stat.Options, never>
  | Asking<"bargauge", bargauge.Options, never>
  | Asking<"state-timeline", statetimeline.Options, statetimeline.FieldConfig>
  | (Omit<Required_<Plain<raw.RowPanel>, "title" | "gridPos">, "panels"> & { panels: [] });

/**
 * A mark on every graph, where the value of a query is its time in milliseconds. The published type
 * leaves the fields of a data source open; these are those of Prometheus.
 */
type Mark = Omit<Plain<raw.AnnotationQuery>, "datasource" | "target"> & {
  datasource: Prometheus;
  target: { refId: string; expr: string };
  useValueForTime: true;
  titleFormat: string;
  textFormat: string;
  tagKeys: string;
};

/** A file under grafana/dashboards. */
export type Dashboard = Omit<
  Required_<Plain<raw.Dashboard>, "uid" | "title" | "description" | "tags" | "refresh" | "time">,
  "panels" | "annotations"
> & {
  annotations: { list: Mark[] };
  refresh: "5s";
  time: { from: "now-15m"; to: "now" };
  panels: [Panel, ...Panel[]];
};
