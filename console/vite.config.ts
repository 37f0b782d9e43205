// How the console is built: three files with fixed names, which the control plane embeds
// (docs/decisions/066-the-console-is-embedded.md).

import { defineConfig } from "vite";

export default defineConfig({
  // Relative, because the API may be served below any path.
  base: "./",
  esbuild: { jsx: "automatic", jsxImportSource: "preact", legalComments: "none" },
  build: {
    target: "es2022",
    outDir: process.env["CONSOLE_OUT"] ?? "dist",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: false,
    reportCompressedSize: false,
    rollupOptions: {
      output: {
        entryFileNames: "console.js",
        assetFileNames: "console[extname]",
        inlineDynamicImports: true,
      },
    },
  },
});
