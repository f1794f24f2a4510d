import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { scanPem } from '../../agent/trust/pem.ts';
import { createCertificate } from '../support/certificates.ts';

const one = createCertificate({ subject: 'One' });
const two = createCertificate({ subject: 'Two' });
const bodyOf = (pem: string): string => pem.split('\n').slice(1, -2).join('\n');
const block = (label: string, body = bodyOf(one.pem)): string =>
  `-----BEGIN ${label}-----\n${body}\n-----END ${label}-----\n`;

const scan = (text: string): ReturnType<typeof scanPem> => scanPem(Buffer.from(text, 'latin1'));

/** Every finding as `line code message`, with the certificate's number behind the line. */
const tell = (text: string): string[] =>
  scan(text).findings.map(({ line, certificate, code, message }) =>
    [certificate === undefined ? `${line}` : `${line}#${certificate}`, code, message].join(' '),
  );

const found = (text: string): string[] =>
  scan(text).certificates.map(({ line, certificate, der }) => {
    const name = Buffer.from(der).equals(one.der) ? 'One' : Buffer.from(der).equals(two.der) ? 'Two' : 'other';
    return `${line}#${certificate} ${name}`;
  });

const linesOf = (text: string): number => text.split('\n').length - 1;

test('certificates are found with their number and line, and text around them is dropped', () => {
  const text = `# Corp \xfc\xe9 root (Latin-1)\n\n${one.pem}subject: CN=Two -- an end\n${two.pem}bye`;
  assert.deepEqual(found(text), ['3#1 One', `${linesOf(one.pem) + 4}#2 Two`]);
  assert.deepEqual(tell(text), []);
});

test('line lengths, white space in bodies, blanks behind boundaries and a missing final line end are not judged', () => {
  const body = bodyOf(one.pem).replaceAll('\n', '');
  assert.deepEqual(found(block('CERTIFICATE', body)), ['1#1 One']);
  assert.deepEqual(found(block('CERTIFICATE', body.replace(/.{7}/g, '$& \t\n\n'))), ['1#1 One']);
  assert.deepEqual(found(one.pem.replaceAll('-----\n', '----- \t\n').trimEnd()), ['1#1 One']);
});

test('a BEGIN without an END is reported where it stands, and the block behind it is still found', () => {
  const cut = one.pem.slice(0, 200);
  assert.deepEqual(tell(cut), ['1#1 MalformedPem BEGIN of "CERTIFICATE" without its END']);
  assert.deepEqual(tell(`${cut}\n${two.pem}`), [
    '1#1 MalformedPem BEGIN of "CERTIFICATE" without its END before the next BEGIN on line 5',
  ]);
  assert.deepEqual(found(`${cut}\n${two.pem}`), ['5#2 Two']);
});

test('an END without a BEGIN and an END of another label are reported', () => {
  assert.deepEqual(tell('text\n-----END CERTIFICATE-----\n'), ['2 MalformedPem END of "CERTIFICATE" without a BEGIN']);
  const mixed = `-----BEGIN CERTIFICATE-----\nAAAA\n-----END X509 CRL-----\n${two.pem}`;
  assert.deepEqual(tell(mixed), ['1#1 MalformedPem BEGIN of "CERTIFICATE" ends with END of "X509 CRL" on line 3']);
  assert.deepEqual(found(mixed), ['4#2 Two']);
});

test('files joined without a line break give one finding, and both certificates are still looked at', () => {
  const text = one.pem.trimEnd() + two.pem;
  const line = linesOf(one.pem);
  assert.deepEqual(tell(text), [
    `${line}#1 MalformedPem END and BEGIN stand on one line: a file without a final line break was joined with the next`,
  ]);
  assert.deepEqual(found(text), ['1#1 One', `${line}#2 Two`]);
});

test('a file whose line breaks were lost gives one finding', () => {
  const lost = 'several BEGIN or END stand on one line: the line breaks were lost';
  for (const lineBreak of ['', ' ', '\\n', ',']) {
    assert.deepEqual(tell(one.pem.replaceAll('\n', lineBreak)), [`1#1 MalformedPem ${lost}`]);
    assert.deepEqual(tell((one.pem + two.pem).replaceAll('\n', lineBreak)), [`1#1 MalformedPem ${lost}`]);
  }
});

test('nothing is read from a block whose body stands on a boundary line', () => {
  const onBegin = one.pem.replace('\n', '');
  const onEnd = one.pem.replace('\n-----END', '-----END');
  assert.deepEqual(found(onBegin), []);
  assert.deepEqual(found(onEnd), []);
  assert.deepEqual(found(onEnd.trimEnd() + two.pem), []);
  assert.deepEqual(found(`text -----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n`), []);
});

test('one block with two faults of its boundaries gives one finding', () => {
  assert.deepEqual(tell(one.pem.replace('-----END CERTIFICATE', ' -----END X509 CRL')).length, 1);
  assert.deepEqual(tell(` ${one.pem.replace('END CERTIFICATE', 'END X509 CRL')}`).length, 1);
  assert.deepEqual(tell(` ${one.pem.slice(0, 100)}`).length, 1);
});

test('a boundary line that is not exactly right gives one finding that says why', () => {
  const last = linesOf(one.pem);
  const form = 'a BEGIN or END line has exactly five dashes on both sides and one blank before its label';
  const cases: readonly (readonly [change: (pem: string) => string, line: number, message: string])[] = [
    [(pem) => pem.replace(/^(?=.)/gm, '  '), 1, 'blanks stand before the -----BEGIN or -----END of the line'],
    [
      (pem) => pem.replace('-----END', '\t-----END'),
      last,
      'blanks stand before the -----BEGIN or -----END of the line',
    ],
    [(pem) => `> ${pem}`, 1, 'text stands before the -----BEGIN or -----END of the line'],
    [
      (pem) => pem.replace('\n-----END', '-----END'),
      last - 1,
      'text stands before the -----BEGIN or -----END of the line',
    ],
    [(pem) => pem.replace('\n', ' x\n'), 1, 'text stands behind the five dashes that end a BEGIN or END line'],
    [(pem) => pem.replace('\n', ''), 1, 'text stands behind the five dashes that end a BEGIN or END line'],
    [
      (pem) => pem.toLowerCase().replace(/\n[^-]*\n/, `\n${bodyOf(pem)}\n`),
      1,
      'BEGIN, END and the label must be in upper case',
    ],
    [(pem) => pem.replace('-----\n', '----\n'), 1, form],
    [(pem) => pem.replace('-----\n', '------\n'), 1, form],
    [(pem) => pem.replace('-----\n', '\n'), 1, form],
    [(pem) => `-${pem}`, 1, form],
    [(pem) => pem.slice(1), 1, form],
    [(pem) => pem.slice(5), 1, form],
    [(pem) => pem.replace('----BEGIN CERTIFICATE----', 'BEGIN CERTIFICATE'), 1, form],
    [(pem) => pem.replace('-----END', '---END'), last, form],
    [(pem) => pem.replaceAll('-----', '\xe2\x80\x94\xe2\x80\x93'), 1, form],
    [(pem) => pem.replace('BEGIN ', 'BEGIN'), 1, form],
    [(pem) => pem.replace('CERTIFICATE-----', 'CERTIFICATE ---'), 1, form],
  ];
  for (const [change, line, message] of cases) {
    assert.deepEqual(tell(change(one.pem) + two.pem), [`${line}#1 MalformedPem ${message}`], change(one.pem));
    const [last, ...others] = found(change(one.pem) + two.pem).toReversed();
    assert.match(last ?? '', /#2 Two$/);
    assert.deepEqual(others, message.startsWith('text stands') ? [] : ['1#1 One'], message);
  }
});

test('comments that speak of a front-end certificate or of the end are text', () => {
  const text = 'front-end certificate\n# BEGIN CERTIFICATE list\n--- end of the list ---\nBEGIN\nthe end\n';
  assert.deepEqual(tell(text + one.pem), []);
});

test('a block with PEM headers is malformed', () => {
  const text = `\n${block('CERTIFICATE', `Proc-Type: 4,ENCRYPTED\n\n${bodyOf(one.pem)}`)}`;
  assert.deepEqual(tell(text), ['2#1 MalformedPem PEM headers in a certificate block (line 3), expected base64 alone']);
});

test('a body that is not base64 is reported at the line that is not', () => {
  const alphabet = 'InvalidBase64 the line holds a character that is not base64';
  const padding = 'InvalidBase64 the base64 ends in the wrong place: characters or padding (=) are missing or too many';
  const cases: readonly (readonly [body: string, finding: string])[] = [
    ['AAAA\nAA*A\nAA-A', `3#1 ${alphabet}`],
    ['AAAA\nAA\xa0A\n', `3#1 ${alphabet}`],
    ['AAAA\nAA\x00A\n', `3#1 ${alphabet}`],
    ['AAAA\nAA_-\n', `3#1 ${alphabet}`],
    ['AAAA\nAAA\n\n', `3#1 ${padding}`],
    ['AAAA\nAA==\nAAAA', `3#1 ${padding}`],
    ['AAAA\nA===\n', `3#1 ${padding}`],
    ['AAAA\nAA=\n', `3#1 ${padding}`],
  ];
  for (const [body, finding] of cases) assert.deepEqual(tell(block('CERTIFICATE', body)), [finding], body);
});

test('the last bits of the base64 may be anything', () => {
  const [certificate] = scan(block('CERTIFICATE', 'AB==')).certificates;
  assert.deepEqual(certificate?.der, Buffer.of(0));
});

test('every block that says PRIVATE KEY gives one finding, whole or broken', () => {
  const finding = 'PrivateKey the block says PRIVATE KEY';
  for (const label of [
    'PRIVATE KEY',
    'RSA PRIVATE KEY',
    'ENCRYPTED PRIVATE KEY',
    'OPENSSH PRIVATE KEY',
    'x private key',
  ]) {
    const key = block(label, bodyOf(one.keyPem));
    assert.deepEqual(tell(key + two.pem), [`1 ${finding}`], label);
    assert.deepEqual(found(key + two.pem), [`${linesOf(key) + 1}#1 Two`]);
    assert.deepEqual(tell(key.split('\n').slice(0, 2).join('\n')), [`1 ${finding}`], 'unclosed');
    assert.deepEqual(tell(`-----END ${label}-----`), [`1 ${finding}`], 'unopened');
    assert.deepEqual(tell(key.replace(/^/gm, ' ')), [`1 ${finding}`], 'indented');
    assert.deepEqual(tell(key.replaceAll('-----', '----')), [`1 ${finding}`], 'wrong dashes');
    assert.deepEqual(tell(key.replaceAll('\n', ' ')), [`1 ${finding}`], 'one line');
    assert.deepEqual(tell(key.replace(`END ${label}`, 'END CERTIFICATE')), [`1 ${finding}`], 'mismatched');
    const joined = one.pem.trimEnd() + key;
    assert.deepEqual(tell(joined), [`${linesOf(one.pem)} ${finding}`], 'joined');
  }
});

test('an END of a private key under the BEGIN of a certificate is a private key', () => {
  const text = one.pem.replace('END CERTIFICATE', 'END PRIVATE KEY');
  assert.deepEqual(tell(text), ['1#1 PrivateKey the block says PRIVATE KEY']);
});

test('a certificate joined behind a private key gives a finding for each mistake', () => {
  assert.deepEqual(
    tell(one.keyPem.trimEnd() + one.pem).map((finding) => finding.split(' ')[1]),
    ['PrivateKey', 'MalformedPem'],
  );
});

test('other labels are named where they look like labels', () => {
  for (const label of [
    'TRUSTED CERTIFICATE',
    'X509 CERTIFICATE',
    'X509 CRL',
    'PKCS7',
    'CERTIFICATE ',
    ' CERTIFICATE',
  ]) {
    assert.deepEqual(tell(block(label)), [`1 UnexpectedPemBlock the block says "${label}", expected CERTIFICATE`]);
  }
  for (const label of ['certificate', 'A'.repeat(41), 'A\x1b[31m']) {
    assert.deepEqual(tell(block(label)), [
      '1 UnexpectedPemBlock the block says an unusual label, expected CERTIFICATE',
    ]);
  }
});

test('a carriage return is reported once, and everything else as if it were a line end', () => {
  const crlf = `a\n${one.pem}${block('X509 CRL')}`.replaceAll('\n', '\r\n').replace('\r', '');
  assert.deepEqual(tell(crlf), [
    '2 CrlfLineEndings the line ends with CRLF, expected LF',
    `${linesOf(one.pem) + 2} UnexpectedPemBlock the block says "X509 CRL", expected CERTIFICATE`,
  ]);
  assert.deepEqual(found(crlf), ['2#1 One']);
  assert.deepEqual(tell(one.pem.replaceAll('\n', '\r')), [
    '1 CrlfLineEndings the line holds a CR, expected LF line ends',
  ]);
  assert.deepEqual(found(one.pem.replaceAll('\n', '\r')), ['1#1 One']);
});

test('a UTF-8 byte order mark is reported before the text and before a joined file', () => {
  const mark = 'ByteOrderMark a byte order mark of UTF-8 stands before the text';
  assert.deepEqual(tell(`\xef\xbb\xbf# comment\n${one.pem}`), [`1 ${mark}`]);
  assert.deepEqual(found(`\xef\xbb\xbf${one.pem}`), ['1#1 One']);
  const joined = `${one.pem}\xef\xbb\xbf${two.pem}`;
  assert.deepEqual(tell(joined), [`${linesOf(one.pem) + 1}#2 ${mark}`]);
  assert.deepEqual(found(joined).length, 2);
});

test('no input makes it throw', () => {
  const piece = fc.constantFrom(
    '-----BEGIN ',
    '-----END ',
    'CERTIFICATE',
    'PRIVATE KEY',
    '-----',
    '-',
    '\n',
    '\r',
    'AAAA',
    ':',
    '=',
    ' ',
    '\xef\xbb\xbf',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
      for (const { line } of scan(pieces.join('')).findings) assert.ok(line >= 1 && line <= pieces.length + 1);
    }),
    { numRuns: 2000 },
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 2000 }), (bytes) => void scanPem(bytes)));
});

test('a mebibyte of anything is scanned in time that grows with its length alone', () => {
  const mebibyte = 1024 * 1024;
  const fill = (text: string): string => text.repeat(Math.ceil(mebibyte / text.length));
  const hostile = [
    '\n',
    '\r',
    ' ',
    '-',
    'A',
    'end\n',
    'end',
    'BEGIN ',
    '-----BEGIN',
    '-----BEGIN PRIVATE KEY',
    '--end A',
    '--BEGIN CERT ',
    'end certificate ',
    '-----BEGIN CERTIFICATE-----\n',
    '-----BEGIN A-----\n-----END A-----\n',
  ].map(fill);
  const long = ['-', ' ', '\t', '=', 'A ', '\n', 'A\n'].map(
    (text) => `-----BEGIN CERTIFICATE-----${fill(text)}!\n-----END CERTIFICATE-----`,
  );
  for (const text of [...hostile, ...long]) {
    const bytes = Buffer.from(text, 'latin1');
    const startMs = performance.now();
    scanPem(bytes);
    // Quadratic time would be minutes; the limit leaves room for a slow machine.
    assert.ok(performance.now() - startMs < 1000, JSON.stringify(text.slice(0, 50)));
  }
});

test('dashes of any make, or something else in their place, do not make a block vanish', () => {
  for (const dash of ['\u2212', '\uff0d', '\u2e3a', '=', '- ', '~', '_']) {
    for (const label of ['CERTIFICATE', 'PRIVATE KEY']) {
      const odd = Buffer.from(block(label).replaceAll('-----', dash.repeat(5))).toString('latin1');
      assert.notDeepEqual(tell(one.pem + odd), [], `${dash} ${label}`);
    }
  }
});
