import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { maskText } from '../src/mask.js';
import { read } from '../src/reading.js';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const PAGE = here('../dist/index.html');
const SCREENSHOTS = here('../../../target/browser');

let browser;
let server;
let origin;
const asked = [];

before(async () => {
  assert.ok(existsSync(PAGE), 'build the page first: npm run build');
  const executablePath = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => path && existsSync(path));
  assert.ok(executablePath, 'there is no Chromium: apt-get install chromium, or name one in CHROMIUM');
  // As root Chromium has no sandbox.
  browser = await chromium.launch({ executablePath, args: process.getuid() === 0 ? ['--no-sandbox'] : [] });
  server = createServer((request, response) => {
    asked.push(request.url);
    const isPage = request.url === '/';
    response.writeHead(isPage ? 200 : 404, { 'content-type': 'text/html; charset=utf-8' });
    response.end(isPage ? readFileSync(PAGE) : '');
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  origin = `http://127.0.0.1:${server.address().port}/`;
});
after(async () => {
  await browser?.close();
  server?.close();
});

/** Opens the page, and collects everything that went wrong on it. */
async function open(t, url = origin, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  t.after(() => context.close());
  const page = await context.newPage();
  const wrong = [];
  page.on('pageerror', (error) => wrong.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && wrong.push(message.text()));
  await page.goto(url);
  await page.waitForSelector('body[data-ready]');
  return { page, wrong };
}

const DEAD = `HTTP/2 400
date: Mon, 23 Nov 2026 10:00:00 GMT
content-type: application/json; charset=utf-8
set-cookie: sid=s3cretc00kie1234567890; Path=/

{"error":"invalid_grant","error_description":"Token has been expired or revoked.","refresh_token":"1//0gLongAndSecret-abcDEF0123456789"}`;

/**
 * An answer that is pasted is judged, in plain words, and the page asks the network for nothing.
 */
test('a pasted answer is judged without the network', async (t) => {
  asked.length = 0;
  const { page, wrong } = await open(t);
  assert.ok(await page.locator('#empty').isVisible());
  await page.getByLabel('Whose server').fill('google');
  await page.getByLabel('What came back').fill(DEAD);
  assert.equal(await page.locator('#verdict').textContent(), 'terminal');
  assert.match(await page.locator('#headline').textContent(), /login is over/);
  assert.match(await page.locator('#vault').textContent(), /Cleared.*Sealed.*7 days/s);
  assert.match(await page.locator('#facts').textContent(), /invalid_grant/);
  assert.equal(await page.getByLabel('HTTP status').inputValue(), '400');
  assert.ok((await page.locator('#steps li').count()) > 2);
  assert.equal(await page.locator('#steps li.decided').count(), 1);
  const shown = await page.locator('#shown').textContent();
  assert.ok(!shown.includes('s3cret') && !shown.includes('1//0g') && shown.includes('invalid_grant'), shown);
  const result = await page.locator('#result').innerText();
  assert.ok(!/s3cret|1\/\/0g/.test(result), result);
  assert.deepEqual([asked, wrong], [['/'], []]);
});

/** Fields count as well as a paste, and a failure without an answer too. */
test('fields are judged as a paste is, without an answer too', async (t) => {
  const { page } = await open(t);
  await page.getByLabel('What came back').fill('<html><body>502 Bad Gateway</body></html>');
  assert.ok(await page.locator('#needs-status').isVisible());
  await page.getByLabel('HTTP status').fill('502');
  assert.equal(await page.locator('#verdict').textContent(), 'transient');
  await page.getByLabel('Headers', { exact: true }).fill('content-type: text/html\nretry-after: 120');
  assert.match(await page.locator('#vault').textContent(), /2 minutes/);
  await page.getByLabel('Or no answer').selectOption('timeout');
  assert.match(await page.locator('#vault').textContent(), /may have replaced the token/);
  await page.getByRole('button', { name: 'Clear' }).click();
  assert.ok(await page.locator('#empty').isVisible());
});

test('a paste in which no answer can be seen says why', async (t) => {
  const { page, wrong } = await open(t);
  for (const [pasted, reason] of [
    ['just some words', /no status line/],
    ['{"error":"invalid_grant"}', /no status line/],
    ['> POST /token HTTP/1.1\n> Host: a.example\n>', /a request and no answer/],
    ['curl: (7) Failed to connect to a.example port 443', /curl got no answer/],
    ['{"log":{"entries":[{"request":{"url":"https://a.example/token"}}]}}', /HAR file/],
    ['{"log":{"entries":[{"request":{"url":"https://a.exam', /HAR file/],
  ]) {
    await page.getByLabel('What came back').fill(pasted);
    assert.match(await page.locator('#empty').innerText(), /No answer can be seen/, pasted);
    assert.match(await page.locator('#empty-why').textContent(), reason, pasted);
    assert.ok(await page.locator('#needs-status').isVisible(), pasted);
  }
  await page.getByRole('button', { name: 'Clear' }).click();
  assert.match(await page.locator('#empty').innerText(), /Nothing to judge yet/);
  await page.getByLabel('What came back').fill(DEAD);
  assert.ok(!(await page.locator('#empty').isVisible()));
  assert.deepEqual(wrong, []);
});

/** Every example has the verdict that its case has, and its source. */
test('every example has the verdict of its case', async (t) => {
  const { page, wrong } = await open(t);
  const examples = JSON.parse(readFileSync(here('../generated/examples.json'), 'utf8'));
  for (const { id, verdict, source } of examples) {
    await page.getByLabel('An example').selectOption(id);
    assert.equal(await page.locator('#verdict').textContent(), verdict, id);
    assert.ok((await page.locator('#source').textContent()).includes(source.replace(/^https:\/\//, '')), id);
  }
  assert.deepEqual(wrong, []);
});

test('a link brings the same verdict to a colleague, and no secret', async (t) => {
  const { page } = await open(t);
  await page.getByLabel('Whose server').fill('google');
  await page.getByLabel('What came back').fill(DEAD);
  await page.getByRole('button', { name: 'Make a link' }).click();
  const url = page.url();
  const told = Buffer.from(url.split('#a=')[1], 'base64url').toString();
  assert.ok(told.includes('invalid_grant') && !/s3cret|1\/\/0g/.test(told), told);
  assert.match(await page.locator('#share-note').textContent(), /taken out/);
  const other = await open(t, url);
  assert.equal(await other.page.locator('#verdict').textContent(), 'terminal');
  assert.equal(await other.page.getByLabel('Whose server').inputValue(), 'google');
  const broken = await open(t, `${origin}#a=bm9wZQ`);
  assert.match(await broken.page.locator('#share-note').textContent(), /cannot be read/);
});

test('markup in an answer stays text', async (t) => {
  const { page, wrong } = await open(t);
  await page.getByLabel('What came back').fill('HTTP/1.1 400 Bad\ncontent-type: application/json\n\n{"error":"<img src=x onerror=document.title=1>"}');
  assert.equal(await page.locator('#result img').count(), 0);
  assert.equal(await page.title(), 'Why was I logged out?');
  assert.deepEqual(wrong, []);
});

test('it works from a file, too', async (t) => {
  const { page, wrong } = await open(t, `file://${PAGE}`);
  await page.getByLabel('What came back').fill(DEAD);
  assert.equal(await page.locator('#verdict').textContent(), 'terminal');
  assert.deepEqual(wrong, []);
});

/**
 * Every field has a label, the keyboard reaches everything, and nothing is wider than a narrow
 * screen.
 */
test('labels, keyboard and a narrow screen are provided for', async (t) => {
  const { page } = await open(t, origin, { viewport: { width: 320, height: 640 } });
  const nameless = await page.$$eval('input, select, textarea, button', (all) => all.filter((one) => !(one.labels?.length || one.textContent.trim())).map((one) => one.id));
  assert.deepEqual(nameless, []);
  await page.getByLabel('An example').selectOption('entra-50173-revoked');
  await page.getByText('Field by field').click();
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= 320, `${width}`);
  await page.evaluate(() => document.activeElement.blur());
  const reached = new Set();
  for (let n = 0; n < 20; n += 1) {
    await page.keyboard.press('Tab');
    reached.add(await page.evaluate(() => document.activeElement.id || document.activeElement.tagName));
  }
  for (const id of ['example', 'provider', 'pasted', 'status', 'transport', 'headers', 'body', 'share', 'clear', 'A', 'SUMMARY']) assert.ok(reached.has(id), `${id}: ${[...reached]}`);
});

for (const colorScheme of ['light', 'dark']) {
  /** Words have contrast enough; a screenshot is kept. */
  test(`words have contrast enough (${colorScheme})`, async (t) => {
    mkdirSync(SCREENSHOTS, { recursive: true });
    const { page } = await open(t, origin, { colorScheme });
    const examples = ['google-400-expired-revoked', 'entra-50076-no-claims', 'xai-403-plan', 'anthropic-429-rate-limit', 'google-400-html', 'rfc6749-200-success'];
    for (const id of examples) {
      await page.getByLabel('An example').selectOption(id);
      assert.deepEqual(await page.evaluate(tooFaint), [], id);
    }
    await page.getByLabel('An example').selectOption(colorScheme === 'light' ? 'google-400-expired-revoked' : 'hydra-504-refresh');
    await page.screenshot({ path: `${SCREENSHOTS}/${colorScheme}.png`, fullPage: true });
    if (colorScheme === 'light') {
      await page.setViewportSize({ width: 390, height: 844 });
      await page.screenshot({ path: `${SCREENSHOTS}/narrow.png`, fullPage: true });
    }
  });
}

/** Runs in the page: texts whose contrast to what is behind them is under 4.5 (WCAG AA). */
function tooFaint() {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const paint = (colors) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const color of colors) {
      canvas.fillStyle = color;
      canvas.fillRect(0, 0, 1, 1);
    }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const faint = [];
  for (const element of document.querySelectorAll('h1, h2:not(.unseen), h3, h4, p, dt, dd, li, li span, label, summary, button, code, input, textarea, select, a:not(.skip), pre, .mark')) {
    if (!element.checkVisibility()) continue;
    const behind = [];
    for (let at = element; at; at = at.parentElement) behind.unshift(getComputedStyle(at).backgroundColor);
    const [one, other] = [paint([...behind, getComputedStyle(element).color]), paint(behind)].map(luminance);
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < 4.5) faint.push(`${element.tagName}#${element.id}.${element.className} ${contrast.toFixed(2)}`);
  }
  return faint;
}

test('an answer is read out of what people have at hand', () => {
  assert.deepEqual(read('HTTP/1.1 100 Continue\r\n\r\nHTTP/2 401 \r\ncontent-type: text/plain\r\n\r\nno\r\n'), { status: 401, headers: [['content-type', 'text/plain']], body: 'no' });
  const verbose = '* Connected to x\n> POST /token HTTP/1.1\n> host: x\n>\n< HTTP/1.1 400 Bad Request\n< Content-Type: application/json\n< \n{"error":"invalid_grant"}\n* Connection #0 left intact';
  assert.deepEqual(read(verbose), { status: 400, headers: [['content-type', 'application/json']], body: '{"error":"invalid_grant"}' });
  const entry = (url, status, text) => ({ request: { url }, response: { status, headers: [{ name: 'X-A', value: 'b' }], content: { text } } });
  const har = { log: { entries: [entry('https://x/token', 400, 'a'), entry('https://x/api', 200, 'b')] } };
  assert.deepEqual(read(JSON.stringify(har)), { status: 400, headers: [['x-a', 'b']], body: 'a', transportError: undefined });
  assert.equal(read(JSON.stringify(entry('x', 0, ''))).transportError, 'reset');
  assert.deepEqual(read('{"error":"x"}'), { status: undefined, headers: [], body: '{"error":"x"}' });
  assert.equal(read('').body, '');
});

/** What looks like a secret is masked, and what a verdict rests on is not. */
test('secrets are masked, and what a verdict rests on is not', () => {
  for (const secret of [
    '{"refresh_token":"0.ARoA"}', '{"access_token": "x y z 1"}', 'refresh_token=abc123&x=1', '{"client_secret":"hunter2!"}', 'Bearer abcdefgh12345678',
    'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln', 'gho_16C7e42F292c6912E7710c838347Ae178B4a', 'ghp_0123456789abcdefABCDEF', 'mail to a.person@example.com',
    'id 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd1', '{\\"refresh_token\\":\\"s3cret\\"}', '{"id_token":"a.b.c1"}',
  ]) {
    assert.ok(maskText(secret).includes('[masked]'), `${secret} -> ${maskText(secret)}`);
  }
  for (const harmless of [
    '{"error":"invalid_grant","error_description":"Token has been expired or revoked."}', '{"code":"refresh_token_invalidated"}', '{"error":"token_expired"}',
    '{"token_type":"Bearer","expires_in":3600}', 'AADSTS50173: The provided grant has expired', 'f81d4fae-7dec-11d0-a765-00a0c91e6bf6', '{"error":{"code":"refresh_token_reused"}}',
    '2021-01-31T05:56:19.5970000Z', 'https://login.microsoftonline.com/error?code=50173', 'error=bad_refresh_token&error_description=The+refresh+token',
  ]) {
    assert.equal(maskText(harmless), harmless);
  }
});
