import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import dns from 'node:dns';
import { connect, createServer, Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import { Worker } from 'node:worker_threads';
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import { attempt } from '../dist/http/exchange.js';
import { AllowList, Malformed } from '../dist/http/origin.js';
import { isPublicAddress } from '../dist/http/public-address.js';
import { folder } from './helpers.mjs';

/**
 * Returns a server that does with a whole request what `script` says, or with a connection what
 * `raw` says.
 */
async function peer(t, script, { raw, tls } = {}) {
  const connections = [];
  const requests = [];
  const serve = (socket) => {
    connections.push(socket);
    socket.on('error', () => {});
    if (raw) return raw(socket);
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      const [head, body] = text.split('\r\n\r\n');
      const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
      if (body === undefined || body.length < length) return;
      requests.push(text);
      text = '';
      script(socket);
    });
  };
  const server = tls ? createTlsServer(tls, serve) : createServer(serve);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    for (const socket of connections) socket.destroy();
    server.close();
  });
  return { connections, requests, origin: `${tls ? 'https' : 'http'}://${tls ? 'localhost' : '127.0.0.1'}:${server.address().port}` };
}

function send(origin, { deadlineMs = 5000, headers = [], method = 'POST', body = 'refresh_token=s3cret', reach } = {}) {
  const url = `${origin}/token?x=1`;
  const request = { method, url, headers, body, deadlineMs, reach };
  return attempt(request, new AllowList([origin], true).target(url), performance.now() + deadlineMs);
}

const answering = (bytes) => (socket) => socket.end(bytes);

/** One request goes out on one connection, with no coding asked for and none kept. */
test('one request leaves, on a connection of its own', async (t) => {
  const it = await peer(t, answering('HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n\r\nhi'));
  const { response } = await send(it.origin, { headers: [{ name: 'x-nous-refresh-token', value: 's3cret' }] });
  assert.deepEqual([response.status, response.body, response.bodyComplete, response.bodyLossy], [302, 'hi', true, false]);
  assert.equal(response.headers.filter(({ name }) => name === 'set-cookie').length, 2);
  assert.equal(it.connections.length, 1);
  assert.match(it.requests[0], /^POST \/token\?x=1 HTTP\/1\.1\r\nhost: 127\.0\.0\.1:\d+\r\nx-nous-refresh-token: s3cret\r\n/);
  assert.match(it.requests[0], /accept-encoding: identity\r\nconnection: close\r\ncontent-length: 20\r\n/);
});

test('whether a request may have been seen is said exactly', async (t) => {
  const gone = await peer(t, () => {});
  await new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      gone.free = `http://127.0.0.1:${probe.address().port}`;
      probe.close(resolve);
    });
  });
  const refused = await send(gone.free);
  assert.deepEqual([refused.failure.kind, refused.failure.sent], ['connect', 'no']);

  const closes = await peer(t, (socket) => socket.destroy());
  const reset = await send(closes.origin);
  assert.deepEqual([reset.failure.kind, reset.failure.sent], ['reset', 'maybe']);
  assert.equal(closes.connections.length, 1, 'no second attempt');

  const silent = await peer(t, () => {});
  const began = performance.now();
  const timeout = await send(silent.origin, { deadlineMs: 200 });
  assert.deepEqual([timeout.failure.kind, timeout.failure.sent], ['timeout', 'maybe']);
  assert.ok(performance.now() - began < 1500);
  assert.ok(!timeout.failure.message.includes('s3cret') && !timeout.failure.message.includes('x=1'));

  const babble = await peer(t, answering('SSH-2.0-OpenSSH\r\n'));
  assert.deepEqual(await send(babble.origin).then(({ failure }) => [failure.kind, failure.sent]), ['protocol', 'maybe']);

  const noTls = await peer(t, () => {}, { raw: (socket) => socket.end('HTTP/1.1 400 Bad\r\n\r\n') });
  const tls = await send(noTls.origin.replace('http', 'https'));
  assert.deepEqual([tls.failure.kind, tls.failure.sent], ['tls', 'no']);

  const stuck = await peer(t, () => {}, { raw: () => {} });
  const stuckTls = await send(stuck.origin.replace('http', 'https'), { deadlineMs: 200 });
  assert.deepEqual([stuckTls.failure.kind, stuckTls.failure.sent], ['timeout', 'no']);
});

/** TLS is agreed on with the certificate of who is asked, and with nobody else. */
test('TLS is agreed on with the right certificate alone', async (t) => {
  const path = folder(t);
  const [key, cert] = [join(path, 'key.pem'), join(path, 'cert.pem')];
  try {
    execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', cert, '-days', '2', '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'], { stdio: 'ignore' });
  } catch {
    return t.skip('there is no openssl to make a certificate with');
  }
  const tls = { key: readFileSync(key), cert: readFileSync(cert) };
  const it = await peer(t, answering('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}'), { tls });
  const before = process.env.SSL_CERT_FILE;
  t.after(() => (before === undefined ? delete process.env.SSL_CERT_FILE : (process.env.SSL_CERT_FILE = before)));
  delete process.env.SSL_CERT_FILE;
  const stranger = await send(it.origin);
  assert.deepEqual([stranger.failure.kind, stranger.failure.sent], ['tls', 'no']);
  assert.match(stranger.failure.message, /SSL_CERT_FILE/);
  assert.equal(it.requests.length, 0);
  process.env.SSL_CERT_FILE = cert;
  const { response, failure } = await send(it.origin);
  assert.equal(failure, undefined);
  assert.deepEqual([response.status, response.body, response.bodyComplete], [200, '{}', true]);
  const otherName = await send(it.origin.replace('localhost', '127.0.0.1'));
  assert.deepEqual([otherName.failure.kind, otherName.failure.sent], ['tls', 'no']);
  const silent = await peer(t, () => {}, { tls });
  const timeout = await send(silent.origin, { deadlineMs: 300 });
  assert.deepEqual([timeout.failure.kind, timeout.failure.sent], ['timeout', 'maybe']);
});

/**
 * Https goes through the proxy that the environment names, and the proxy sees no more than host and
 * port.
 */
test('a proxy of the environment sees no more than host and port', async (t) => {
  const path = folder(t);
  const [key, cert] = [join(path, 'key.pem'), join(path, 'cert.pem')];
  try {
    execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', cert, '-days', '2', '-subj', '/CN=auth.test', '-addext', 'subjectAltName=DNS:auth.test'], { stdio: 'ignore' });
  } catch {
    return t.skip('there is no openssl to make a certificate with');
  }
  const it = await peer(t, answering('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}'), { tls: { key: readFileSync(key), cert: readFileSync(cert) } });
  const seen = [];
  let allows = true;
  const proxy = await peer(t, () => {}, {
    raw: (socket) => {
      socket.once('data', (chunk) => {
        seen.push(chunk.toString('latin1'));
        if (!allows) return socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
        const onward = connect(Number(it.origin.split(':').at(-1)), '127.0.0.1', () => {
          socket.write('HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n');
          socket.pipe(onward).pipe(socket);
        });
        onward.on('error', () => {});
      });
    },
  });
  const before = { ...process.env };
  t.after(() => {
    for (const name of ['SSL_CERT_FILE', 'HTTPS_PROXY', 'NO_PROXY', 'ALL_PROXY']) {
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    }
  });
  Object.assign(process.env, { SSL_CERT_FILE: cert, ALL_PROXY: proxy.origin.replace('//', '//us:pa%20ss@') });
  delete process.env.NO_PROXY;
  const { response, failure } = await send('https://auth.test');
  assert.equal(failure, undefined);
  assert.deepEqual([response.status, response.body], [200, '{}']);
  assert.deepEqual(seen, ['CONNECT auth.test:443 HTTP/1.1\r\nHost: auth.test:443\r\nProxy-Authorization: Basic dXM6cGEgc3M=\r\n\r\n']);
  allows = false;
  const refused = await send('https://auth.test');
  assert.deepEqual([refused.failure.kind, refused.failure.sent], ['connect', 'no']);
  process.env.ALL_PROXY = 'socks5://127.0.0.1:1';
  assert.deepEqual(await send('https://auth.test').then(({ failure }) => [failure.kind, failure.sent]), ['unsupported', 'no']);
  process.env.NO_PROXY = 'other.test,.test';
  assert.deepEqual(await send('https://auth.test').then(({ failure }) => [failure.kind, failure.sent]), ['dns', 'no']);
});

/** A body is cut at 64 KiB, at the end of the connection, and at the deadline; and that is said. */
test('a cut body is said to be cut', async (t) => {
  const large = await peer(t, answering(`HTTP/1.1 200 OK\r\n\r\n${'x'.repeat(100_000)}`));
  const cut = (await send(large.origin)).response;
  assert.deepEqual([cut.body.length, cut.bodyComplete, cut.bodyLossy], [65536, false, false]);
  const exact = await peer(t, answering(`HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n${'x'.repeat(65536)}`));
  assert.equal((await send(exact.origin)).response.bodyComplete, true);
  const short = await peer(t, answering('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf'));
  assert.deepEqual(await send(short.origin).then(({ response }) => [response.body, response.bodyComplete]), ['half', false]);
  const slow = await peer(t, (socket) => socket.write('HTTP/1.1 500 Oops\r\nContent-Length: 10\r\n\r\nhalf'));
  assert.deepEqual(await send(slow.origin, { deadlineMs: 300 }).then(({ response }) => [response.status, response.body, response.bodyComplete]), [500, 'half', false]);
  const empty = await peer(t, answering('HTTP/1.1 204 No Content\r\n\r\n'));
  assert.deepEqual(await send(empty.origin).then(({ response }) => [response.body, response.bodyComplete]), ['', true]);
});

/** A coding that nobody asked for is decoded, and one that nobody knows is called lossy. */
test('an unknown coding makes the body lossy', async (t) => {
  const text = JSON.stringify({ error: 'invalid_grant', long: 'ü'.repeat(1000) });
  for (const [coding, bytes] of [['gzip', gzipSync(text)], ['deflate', deflateSync(text)], ['br', brotliCompressSync(text)]]) {
    const head = `HTTP/1.1 400 Bad\r\nContent-Encoding: ${coding}\r\nContent-Length: ${bytes.length}\r\n\r\n`;
    const it = await peer(t, (socket) => socket.end(Buffer.concat([Buffer.from(head), bytes])));
    const { response } = await send(it.origin);
    assert.deepEqual([response.body, response.bodyComplete, response.bodyLossy], [text, true, false], coding);
  }
  const bomb = gzipSync('x'.repeat(10_000_000));
  const it = await peer(t, (socket) => socket.end(Buffer.concat([Buffer.from('HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n'), bomb])));
  assert.deepEqual(await send(it.origin).then(({ response }) => [response.body.length, response.bodyComplete]), [65536, false]);
  const strange = await peer(t, answering('HTTP/1.1 200 OK\r\nContent-Encoding: zstd\r\nContent-Length: 1\r\n\r\nx'));
  assert.equal((await send(strange.origin)).response.bodyLossy, true);
});

/**
 * Gzip is known by its first bytes, deflate is zlib or raw, and what is taken off is not named any
 * more.
 */
test('gzip and deflate are decoded and not named any more', async (t) => {
  const text = JSON.stringify({ access_token: 'at', long: 'ü'.repeat(1000) });
  for (const [named, bytes] of [['', gzipSync(text)], ['gzip', gzipSync(gzipSync(text))], ['deflate', deflateRawSync(text)], ['', Buffer.concat([gzipSync(text.slice(0, 9)), gzipSync(text.slice(9)), Buffer.alloc(3)])]]) {
    const head = `HTTP/1.1 200 OK\r\n${named && `Content-Encoding: ${named}\r\n`}Content-Length: ${bytes.length}\r\n\r\n`;
    const it = await peer(t, (socket) => socket.end(Buffer.concat([Buffer.from(head), bytes])));
    const { response } = await send(it.origin);
    assert.deepEqual([response.body, response.bodyComplete, response.bodyLossy], [text, true, false], named);
    assert.ok(response.headers.every(({ name }) => name !== 'content-encoding'));
  }
  for (const [named, bytes] of [['gzip', gzipSync(text).fill(0xff, 12, 20)], ['', gzipSync(text).fill(0xff, gzipSync(text).length - 8)], ['deflate', Buffer.from([0x87, 0x81])], ['zstd', Buffer.from([0x28, 0xb5, 0x2f, 0xfd])], ['br', Buffer.from([0xff, 0xff, 0xff])]]) {
    const head = `HTTP/1.1 200 OK\r\n${named && `Content-Encoding: ${named}\r\n`}Content-Length: ${bytes.length}\r\n\r\n`;
    const it = await peer(t, (socket) => socket.end(Buffer.concat([Buffer.from(head), bytes])));
    const { response } = await send(it.origin);
    assert.deepEqual([response.body, response.bodyComplete, response.bodyLossy], [bytes.toString(), true, true], named);
    assert.equal(response.headers.some(({ name }) => name === 'content-encoding'), named !== '');
  }
  const cut = gzipSync(text).subarray(0, -8);
  const it = await peer(t, (socket) => socket.end(Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${cut.length}\r\n\r\n`), cut])));
  assert.deepEqual(await send(it.origin).then(({ response }) => [response.body, response.bodyComplete, response.bodyLossy]), [text, false, true]);
});

test('an answer may have a thousand headers', async (t) => {
  const it = await peer(t, answering(`HTTP/1.1 200 OK\r\n${'x: y\r\n'.repeat(1000)}Retry-After: 7\r\nContent-Length: 2\r\n\r\n{}`));
  const { response } = await send(it.origin);
  assert.deepEqual([response.body, response.bodyComplete, response.headers.length], ['{}', true, 1002]);
  assert.ok(response.headers.some(({ name, value }) => name === 'retry-after' && value === '7'));
});

/** What has come by the deadline is read, although the process stood still until after it. */
test('an answer that came by the deadline is read after a stop', async (t) => {
  // The server is a thread: it goes on while this one stands still.
  const flags = new Int32Array(new SharedArrayBuffer(4));
  const server = new Worker(
    `const { parentPort, workerData: flags } = require('node:worker_threads');
     require('node:net').createServer((socket) => {
       socket.once('data', () => {
         parentPort.postMessage('it is here');
         Atomics.wait(flags, 0, 0);
         const body = '{}' + ' '.repeat(40000);
         socket.end('HTTP/1.1 200 OK\\r\\nContent-Length: 40002\\r\\n\\r\\n' + body, () => {
           Atomics.store(flags, 0, 2);
           Atomics.notify(flags, 0);
         });
       });
     }).listen(0, '127.0.0.1', function () { parentPort.postMessage(this.address().port); });`,
    { eval: true, workerData: flags },
  );
  t.after(() => server.terminate());
  const port = await new Promise((resolve) => server.once('message', resolve));
  const isThere = new Promise((resolve) => server.once('message', resolve));
  const deadlineMs = 1000;
  const began = performance.now();
  const outcome = send(`http://127.0.0.1:${port}`, { deadlineMs });
  await isThere;
  Atomics.store(flags, 0, 1);
  Atomics.notify(flags, 0);
  Atomics.wait(flags, 0, 1);
  while (performance.now() < began + deadlineMs + 50);
  const { response, failure } = await outcome;
  assert.equal(failure, undefined);
  assert.deepEqual([response.status, response.body.length, response.bodyComplete], [200, 40002, true]);
});

/** Bytes that are no text are replaced, and a character that was cut is left out. */
test('bytes that are no text are replaced', async (t) => {
  const latin = await peer(t, (socket) => socket.end(Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na\xffb', 'latin1')));
  assert.deepEqual(await send(latin.origin).then(({ response }) => [response.body, response.bodyLossy]), ['a\ufffdb', true]);
  const cut = await peer(t, (socket) => socket.end(Buffer.concat([Buffer.from('HTTP/1.1 200 OK\r\n\r\n'), Buffer.from('x'.repeat(65535) + 'ü')])));
  assert.deepEqual(await send(cut.origin).then(({ response }) => [response.body.length, response.bodyLossy, response.bodyComplete]), [65535, false, false]);
});

test('what would be the host’s, or break a message, is not sent', async (t) => {
  const it = await peer(t, () => {});
  for (const [name, value] of [['host', 'x'], ['content-length', '1'], ['x y', 'z'], ['x', 'a\r\nb: c'], ['x', 'ü'], ['cookie', 'a=b']]) {
    const { failure } = await send(it.origin, { headers: [{ name, value }] });
    assert.deepEqual([failure.kind, failure.sent], ['unsupported', 'no'], name);
  }
  assert.equal((await send(it.origin, { method: 'PUT' })).failure.kind, 'unsupported');
  assert.equal((await send(it.origin, { method: 'GET' })).failure.kind, 'unsupported');
  assert.equal(it.connections.length, 0);
});

/** Only an origin on the list is sent to, read the one way every parser reads it. */
test('only an origin on the list is sent to', () => {
  const allow = new AllowList(['https://auth.example.com', 'http://127.0.0.1:8080'], false);
  assert.equal(allow.target('HTTPS://Auth.Example.com:443/').origin.host, 'auth.example.com');
  for (const url of [
    'https://auth.example.com:8443/t', 'https://sub.auth.example.com/t', 'https://auth.example.com.evil.example/t',
    'https://auth.example.com@evil.example/t', 'http://auth.example.com/t', 'http://127.0.0.1:8080/t', 'ftp://auth.example.com/t',
    'https://auth.example.com\\@evil.example/', 'https://127.1/', 'https://0x7f000001/', 'https://auth.example.com./', 'https:///t', 'https://a b/',
  ]) {
    assert.throws(() => allow.target(url), Malformed, url);
  }
  const loopback = new AllowList(['http://127.0.0.1:8080', 'http://[::1]:80/'], true);
  assert.equal(loopback.target('http://[0:0:0:0:0:0:0:1]/t?x').pathAndQuery, '/t?x');
  for (const bad of ['http://auth.example.com', 'https://*.example.com', 'auth.example.com', 'https://auth.example.com/oauth', 'https://auth.example.com:0', 'https://127.1']) {
    assert.throws(() => new AllowList([bad], true), Malformed, bad);
  }
});

const ADDRESSES = new URL('../../../tests/conformance/http/addresses.json', import.meta.url);

test('the list of addresses is judged as it says', { skip: !existsSync(ADDRESSES) }, () => {
  const listed = JSON.parse(readFileSync(ADDRESSES, 'utf8'));
  assert.deepEqual(listed.public.filter((address) => !isPublicAddress(address)), []);
  assert.deepEqual(listed['not-public'].filter(isPublicAddress), []);
  assert.deepEqual(['fe80::1%eth0', 'localhost', ''].filter(isPublicAddress), []);
});

/** Resolves every name to these addresses, and refuses every connection; returns what was asked. */
function resolvingTo(t, ...addresses) {
  const asked = { names: [], peers: [] };
  t.mock.method(dns, 'lookup', (name, _options, done) => {
    asked.names.push(name);
    done(null, addresses.map((address) => ({ address })));
  });
  t.mock.method(Socket.prototype, 'connect', function connect(options) {
    asked.peers.push((options[0] ?? options).host);
    process.nextTick(() => this.destroy(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })));
    return this;
  });
  return asked;
}

/** One address that is not public refuses the name, whichever would have been connected to. */
test('a request that must stay public goes nowhere else', async (t) => {
  for (const addresses of [['10.0.0.1'], ['8.8.8.8', '169.254.169.254'], ['127.0.0.1']]) {
    const asked = resolvingTo(t, ...addresses);
    const { failure } = await send('https://auth.example.invalid', { reach: 'public' });
    assert.deepEqual([failure.kind, failure.sent, asked.peers], ['not-allowed', 'no', []]);
    assert.ok(!addresses.some((address) => failure.message.includes(address)));
    t.mock.restoreAll();
  }
});

/** The name is looked up once, and the addresses that were checked are connected to. */
test('a request that must stay public is pinned', async (t) => {
  const asked = resolvingTo(t, '8.8.8.8', '1.1.1.1');
  const { failure } = await send('https://auth.example.invalid', { reach: 'public' });
  assert.deepEqual([failure.kind, failure.sent], ['connect', 'no']);
  assert.deepEqual(asked, { names: ['auth.example.invalid'], peers: ['8.8.8.8', '1.1.1.1'] });
});

test('a request that must stay public takes no proxy', async (t) => {
  const asked = resolvingTo(t, '8.8.8.8');
  const before = process.env.HTTPS_PROXY;
  t.after(() => (before === undefined ? delete process.env.HTTPS_PROXY : (process.env.HTTPS_PROXY = before)));
  process.env.HTTPS_PROXY = 'http://127.0.0.1:9';
  const { failure } = await send('https://auth.example.invalid', { reach: 'public' });
  assert.deepEqual([failure.kind, failure.sent, asked.peers], ['unsupported', 'no', []]);
});
