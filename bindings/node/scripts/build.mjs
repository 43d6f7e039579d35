// Builds the package: the component is transpiled into generated/, the TypeScript compiled into
// dist/.
//
//   npm run build -- <path to lazaretto.wasm>
//   LAZARETTO_WASM=<path> npm run build
//
// Without a path: the newest lazaretto.wasm that a build of the workspace has left in ../../target.

import { spawnSync } from 'node:child_process';
import { copyFileSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { transpileBytes } from '@bytecodealliance/jco-transpile';
import { findComponent, transpileTo } from './transpile.mjs';

const root = new URL('..', import.meta.url);
const component = findComponent('lazaretto.wasm', process.argv[2] ?? process.env.LAZARETTO_WASM);
for (const directory of ['generated', 'dist']) rmSync(new URL(directory, root), { recursive: true, force: true });
await transpileTo(transpileBytes, component, fileURLToPath(new URL('generated/', root)), 'lazaretto');
// The host names the origins itself, from the same profiles.
copyFileSync(new URL('../../src/provider/providers.json', root), new URL('generated/providers.json', root));

const tsc = fileURLToPath(new URL('node_modules/typescript/bin/tsc', root));
const { status } = spawnSync(process.execPath, [tsc, '-p', fileURLToPath(root)], { stdio: 'inherit' });
if (status === 0) console.log(`built from ${component}`);
process.exit(status ?? 1);
