// The one logger: JSON lines on standard output, the object first and a constant, searchable message second.
// Info is a change or an outcome; an idle pass is debug. Bytes of a source never enter a log object.

import { destination, type Logger, pino } from 'pino';

export type Log = Pick<Logger, 'debug' | 'info' | 'warn' | 'error'>;
export const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

/** Synchronous, so that the last line before an end is not lost. */
export function createLog(level: LogLevel): Log {
  const options = { level, base: null, timestamp: () => `,"time":"${new Date().toISOString()}"` };
  return pino({ ...options, formatters: { level: (label) => ({ level: label }) } }, destination({ sync: true }));
}
