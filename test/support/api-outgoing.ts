// The way from the embedded API server to one client, as far as HTTP/1 and HTTP/2 have it in common.

export interface Outgoing {
  writeHead(code: number, headers: Readonly<Record<string, string>>): unknown;
  /** HTTP/1 holds headers back until the first byte of a body. */
  flushHeaders?(): void;
  write(text: string): boolean;
  end(): unknown;
  on(event: 'close', listener: () => void): unknown;
}

export function send(out: Outgoing, code: number, body: unknown, headers: Readonly<Record<string, string>> = {}): void {
  out.writeHead(code, { 'content-type': 'application/json', ...headers });
  out.write(`${JSON.stringify(body)}\n`);
  out.end();
}
