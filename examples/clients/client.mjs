// Send an image to `cfa-lite serve` with Node 18 or newer, without packages:
//
//     node client.mjs http://127.0.0.1:8765/inspect image.png
//
// Prints the verdict and the score. Exit code 0: OK or UNSURE, 3: NG, 4: not inspected.
import { readFile } from "node:fs/promises";

const [url, path] = process.argv.slice(2);
const headers = { "Content-Type": "application/octet-stream" };
if (process.env.CFA_LITE_TOKEN) headers.Authorization = `Bearer ${process.env.CFA_LITE_TOKEN}`;
const response = await fetch(url, { method: "POST", headers, body: await readFile(path), signal: AbortSignal.timeout(30000) });
const found = await response.json();
if ("error" in found) {
  console.log("ERROR", found.error);
  process.exitCode = 4;
} else {
  console.log(found.verdict, found.score);
  process.exitCode = { OK: 0, UNSURE: 0, NG: 3 }[found.verdict] ?? 4;
}
