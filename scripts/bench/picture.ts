/** Draws how long runs take. */
import { LineChart } from "echarts/charts";
import { GridComponent, TitleComponent } from "echarts/components";
import { init, use } from "echarts/core";
import { SVGRenderer } from "echarts/renderers";
import type { Line } from "./durations";

use([LineChart, GridComponent, TitleComponent, SVGRenderer]);

const [WIDTH, HEIGHT] = [900, 440];
const COLOURS = { "this project": "#0f766e", "by hand": "#b45309", "the usual cron": "#64748b" };
const NOTE = `Simulated: 0.3 s a request to Clerk, 1.6 ms a wait for the database. Both scales are logarithmic.
Hollow: not counted at that size, but told from what one more page takes.`;
const TITLES = {
  "quiet full run": "Full run that finds nothing",
  backfill: "Backfill of an empty table",
};

/** An SVG: seconds by users, both on logarithmic scales, a panel for each kind of run. */
export function draw(lines: Line[]): string {
  const kinds = [...new Set(lines.map(({ what }) => what))];
  const share = 100 / kinds.length;
  const panels = kinds.map((_, i) => ({ left: `${share * i + 7}%`, width: `${share - 20}%` }));
  const chart = init(null, null, { renderer: "svg", ssr: true, width: WIDTH, height: HEIGHT });
  chart.setOption({
    animation: false,
    backgroundColor: "#ffffff",
    title: [
      ...kinds.map((what, i) => ({
        text: TITLES[what],
        left: `${share * i + 5}%`,
        top: 8,
        textStyle: { fontSize: 15, color: "#0f172a" },
      })),
      {
        text: NOTE,
        left: "5%",
        bottom: 4,
        textStyle: { fontSize: 11, fontWeight: "normal", color: "#475569" },
      },
    ],
    grid: panels.map((panel) => ({ ...panel, top: 60, bottom: 84 })),
    xAxis: panels.map((_, i) => ({
      type: "log",
      gridIndex: i,
      min: 1000,
      name: "users",
      nameLocation: "middle",
      nameGap: 28,
      axisLabel: { formatter: (users: number) => users.toLocaleString("en") },
    })),
    yAxis: panels.map((_, i) => ({
      type: "log",
      gridIndex: i,
      min: 1,
      name: "seconds",
      axisLabel: { formatter: (seconds: number) => seconds.toLocaleString("en") },
    })),
    series: lines.map(({ what, who, points }) => ({
      type: "line",
      name: who,
      xAxisIndex: kinds.indexOf(what),
      yAxisIndex: kinds.indexOf(what),
      symbolSize: 6,
      color: COLOURS[who],
      lineStyle: { width: who === "this project" ? 3 : 2 },
      endLabel: { show: true, formatter: who, color: COLOURS[who] },
      data: points.map(({ users, seconds, isCounted }) => ({
        value: [users, seconds],
        symbol: isCounted ? "circle" : "emptyCircle",
      })),
    })),
  });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg;
}
