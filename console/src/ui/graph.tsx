// The picture of a run: its steps from left to right, each after the steps that it needs.

import type { JSX } from "preact";

import { shortened } from "../text";

export interface Node {
  id: string;
  needs: string[];
  state: string;
  /** A second line: its mode and fence. */
  note: string;
}

/** Which column each step stands in: one after the last of those that it needs. */
export function columns(nodes: Node[]): Map<string, number> {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const placed = new Map<string, number>();
  const place = (id: string, above: string[]): number => {
    const known = placed.get(id);
    if (known !== undefined) return known;
    const needs = byId.get(id)?.needs ?? [];
    // A run has no circle; a picture of one would have no end.
    const before = needs.filter((need) => byId.has(need) && !above.includes(need)).map((need) => place(need, [...above, id]));
    const column = before.length === 0 ? 0 : Math.max(...before) + 1;
    placed.set(id, column);
    return column;
  };
  for (const node of nodes) place(node.id, [node.id]);
  return placed;
}

const WIDTH = 212;
const HEIGHT = 56;
const ACROSS = 44;
const DOWN = 14;

export function Graph(props: { nodes: Node[] }): JSX.Element {
  const column = columns(props.nodes);
  const rows: number[] = [];
  const at = new Map<string, { x: number; y: number }>();
  for (const node of props.nodes) {
    const x = column.get(node.id) ?? 0;
    const y = rows[x] ?? 0;
    rows[x] = y + 1;
    at.set(node.id, { x: x * (WIDTH + ACROSS), y: y * (HEIGHT + DOWN) });
  }
  const width = Math.max(1, rows.length) * (WIDTH + ACROSS) - ACROSS;
  const height = Math.max(1, ...rows) * (HEIGHT + DOWN) - DOWN;
  const told = props.nodes.map((node) => `${node.id} ${node.state}${node.needs.length > 0 ? `, after ${node.needs.join(" and ")}` : ""}`);
  return (
    <div class="graph" role="region" aria-label="Graph of the steps" tabIndex={0}>
      <svg width={width + 4} height={height + 4} viewBox={`-2 -2 ${width + 4} ${height + 4}`} role="img" aria-label={told.join("; ")}>
        {props.nodes.flatMap((node) =>
          node.needs.map((need) => {
            const [from, end] = [at.get(need), at.get(node.id)];
            if (!from || !end) return null;
            const [x1, y1, x2, y2] = [from.x + WIDTH, from.y + HEIGHT / 2, end.x, end.y + HEIGHT / 2];
            return <path key={`${need} ${node.id}`} class="edge" d={`M${x1} ${y1} C${x1 + 22} ${y1} ${x2 - 22} ${y2} ${x2} ${y2}`} />;
          }),
        )}
        {props.nodes.map((node) => {
          const { x, y } = at.get(node.id) ?? { x: 0, y: 0 };
          return (
            <g key={node.id} class={`node ${node.state}`}>
              <title>{`${node.id}: ${node.state}, ${node.note}`}</title>
              <rect x={x} y={y} width={WIDTH} height={HEIGHT} rx={6} />
              <text x={x + 12} y={y + 23}>
                {shortened(node.id, 24)}
              </text>
              <text class="note" x={x + 12} y={y + 43}>
                {shortened(`${node.state} · ${node.note}`, 31)}
              </text>
            </g>
          );
        })}
      </svg>
    </div>
  );
}
