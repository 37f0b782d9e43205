// One bar for each day. The same numbers stand in the picture's text.

import type { JSX } from "preact";

export interface Bar {
  name: string;
  value: number;
  /** The value as people read it. */
  told: string;
}

const HEIGHT = 120;
const WIDTH = 720;

export function Bars(props: { label: string; of: Bar[] }): JSX.Element {
  const most = Math.max(...props.of.map((bar) => bar.value), 0);
  const step = WIDTH / Math.max(props.of.length, 1);
  const told = props.of.filter((bar) => bar.value > 0).map((bar) => `${bar.name} ${bar.told}`);
  const first = props.of[0]?.name ?? "";
  const last = props.of.at(-1)?.name ?? "";
  return (
    <figure class="bars">
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={`${props.label}: ${told.join("; ") || "nothing"}`}>
        {props.of.map((bar, index) => {
          const height = most === 0 ? 0 : (bar.value / most) * (HEIGHT - 2);
          return (
            <rect key={bar.name} x={index * step + step * 0.1} y={HEIGHT - height} width={step * 0.8} height={height}>
              <title>{`${bar.name}: ${bar.told}`}</title>
            </rect>
          );
        })}
      </svg>
      <figcaption>
        <span>{first}</span>
        <span>{last !== first && last}</span>
      </figcaption>
    </figure>
  );
}
