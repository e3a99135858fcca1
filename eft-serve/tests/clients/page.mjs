// Tests the page of a running server in headless Chromium, and takes screenshots of it.
//
//     cargo run --release -p eft-serve -- --port 8000
//     node eft-serve/tests/clients/page.mjs http://127.0.0.1:8000 FOLDER_FOR_SCREENSHOTS [CHROMIUM]
//
// It needs node 22 or newer (or node 20 with --experimental-websocket) and no package. It ends with an error at the first check that fails.
import {spawn} from "node:child_process";
import {mkdtempSync, mkdirSync, rmSync, writeFileSync} from "node:fs";
import {tmpdir} from "node:os";
import {join} from "node:path";

const [url, folder, program = "chromium"] = process.argv.slice(2);
if (!url || !folder) {
  console.error("usage: node page.mjs URL FOLDER [CHROMIUM]");
  process.exit(2);
}
mkdirSync(folder, {recursive: true});
const profile = mkdtempSync(join(tmpdir(), "eft-page-"));
const browser = spawn(program, ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-port=0",
  `--user-data-dir=${profile}`, "about:blank"], {stdio: ["ignore", "ignore", "pipe"]});

const address = await new Promise((found, failed) => {
  let log = "";
  browser.stderr.on("data", data => {
    log += data;
    const match = log.match(/ws:\/\/(\S+?)\/devtools/);
    if (match) found(match[1]);
  });
  browser.on("error", failed);
  browser.on("exit", () => failed(new Error(log)));
});
const pages = await (await fetch(`http://${address}/json`)).json();
const socket = new WebSocket(pages.find(page => page.type === "page").webSocketDebuggerUrl);
await new Promise(open => socket.addEventListener("open", open));
let calls = 0;
const waiting = new Map(), faults = [], hosts = new Set();
socket.addEventListener("message", ({data}) => {
  const message = JSON.parse(data);
  if (message.id) waiting.get(message.id)(message);
  if (message.method === "Runtime.exceptionThrown") faults.push(message.params.exceptionDetails.exception.description);
  if (message.method === "Network.requestWillBeSent") hosts.add(new URL(message.params.request.url).host);
});
const call = (method, params = {}) => new Promise((done, failed) => {
  waiting.set(++calls, answer => answer.error ? failed(new Error(answer.error.message)) : done(answer.result));
  socket.send(JSON.stringify({id: calls, method, params}));
});
const evaluate = async expression => {
  const {result, exceptionDetails} = await call("Runtime.evaluate", {expression, awaitPromise: true, returnByValue: true});
  if (exceptionDetails) throw new Error(exceptionDetails.exception.description);
  return result.value;
};
const check = (name, holds, shown = "") => {
  if (!holds) throw new Error(`FAILED: ${name} ${shown}`);
  console.log(`ok: ${name}`);
};
const until = async (name, expression) => {
  for (let tries = 0; tries < 300; tries++) {
    if (await evaluate(expression)) return check(name, true);
    await new Promise(later => setTimeout(later, 100));
  }
  check(name, false, await evaluate("document.body.innerText"));
};
const key = async (name, modifiers = 0) => {
  const fields = {key: name, code: name, modifiers, ...(name === "Enter" ? {windowsVirtualKeyCode: 13} : {})};
  await call("Input.dispatchKeyEvent", {type: "keyDown", ...fields});
  await call("Input.dispatchKeyEvent", {type: "keyUp", ...fields});
};

try {
  await call("Runtime.enable");
  await call("Network.enable");
  await call("Page.enable");
  await call("Page.navigate", {url: `${url}/`});
  await until("the models are listed", "document.querySelectorAll('#combination option').length >= 3");
  await evaluate("document.getElementById('prompt').focus()");
  await key("Enter", 2);
  await until("three texts are written after Ctrl+Enter",
    "[...document.querySelectorAll('.texts .faint')].filter(state => /tokens/.test(state.textContent)).length === 3");
  check("no error is shown", await evaluate("document.querySelectorAll('.error').length === 0"));
  await evaluate("document.querySelector('.texts section:last-child .token').focus()");
  await until("a token shows its terms", "document.querySelectorAll('#details tbody tr').length === 3");
  const first = await evaluate("document.querySelector('[aria-selected=true]').textContent");
  await key("ArrowRight");
  const second = await evaluate("document.querySelector('[aria-selected=true]').textContent");
  check("the arrow keys move between tokens", first !== second, `${first} ${second}`);
  const last = "document.querySelector('.texts section:last-child .token:last-child')";
  await key("End");
  check("End goes to the last token", await evaluate(`document.activeElement === ${last} && ${last}.ariaSelected === "true"`));
  await key("Home");
  check("Home goes to the first", await evaluate("document.activeElement.previousSibling === null"));
  check("Tab reaches one token of each text", await evaluate("document.querySelectorAll('.token[tabindex=\"0\"]').length === 3"));
  await key("ArrowRight");
  check("the sum of the shares is shown", await evaluate("/^sum/.test(document.querySelector('#details tfoot').innerText)"));

  for (const width of [390, 900, 1200]) {
    for (const scheme of ["light", "dark"]) {
      await call("Emulation.setEmulatedMedia", {features: [{name: "prefers-color-scheme", value: scheme}]});
      await call("Emulation.setDeviceMetricsOverride", {width, height: 900, deviceScaleFactor: 1, mobile: false});
      const wide = await evaluate("document.documentElement.scrollWidth");
      check(`nothing is wider than ${width} pixels (${scheme})`, wide <= width, wide);
      const cut = await evaluate("[...document.querySelectorAll('button, .texts section, aside')].filter(box => box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight + 1).length");
      check(`no box is too small for its text (${width}, ${scheme})`, cut === 0, cut);
      const {data} = await call("Page.captureScreenshot", {captureBeyondViewport: true});
      writeFileSync(join(folder, `page-${width}-${scheme}.png`), Buffer.from(data, "base64"));
    }
  }
  const columns = await evaluate("[...document.querySelectorAll('.texts h2')].map(title => title.textContent).join('|')");
  check("the columns are two models and the formula", /^large\|tuned\|large \+/.test(columns), columns);
  await evaluate("document.getElementById('tokens').value = 512; document.getElementById('temperature').value = 3; document.getElementById('go').click()");
  await key("Escape");
  await until("Escape stops the texts",
    "[...document.querySelectorAll('.texts .faint')].filter(state => /stopped|complete|cut off/.test(state.textContent)).length === 3");
  await evaluate("document.getElementById('temperature').value = 0; document.getElementById('formula').value = 'nucleus_delta(tuned, large, small, p=0.9)'; document.getElementById('go').click()");
  await until("a rule is written", "document.querySelectorAll('.texts section').length === 3 && [...document.querySelectorAll('.texts .faint')].every(state => /tokens/.test(state.textContent))");
  await evaluate("document.querySelector('.texts section:last-child .token').focus()");
  await until("its terms are shown", "document.querySelectorAll('#details tbody tr').length === 3");
  await evaluate("document.getElementById('formula').value = 'large + nobody'; document.getElementById('go').click()");
  await until("a wrong formula is explained", "/nobody/.test(document.querySelector('.error')?.textContent ?? '')");
  check("no script has failed", faults.length === 0, faults);
  check("no other host is asked", hosts.size <= 2 && hosts.has(new URL(url).host), [...hosts]);
  console.log("all checks have passed");
} finally {
  socket.close();
  browser.kill();
  await new Promise(ended => browser.exitCode === null ? browser.on("exit", ended) : ended());
  rmSync(profile, {recursive: true, force: true});
}
