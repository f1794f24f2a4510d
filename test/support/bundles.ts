// Certificates of the project's own type for tests that do not care how they were made.

import assert from 'node:assert/strict';
import { createBundle, type TrustBundle } from '../../agent/trust/bundle.ts';
import { type Certificate, parseCertificate } from '../../agent/trust/certificate.ts';
import { createCertificate } from './certificates.ts';

export function makeCertificate(subject: string): Certificate {
  const parsed = parseCertificate(createCertificate({ subject }).der);
  assert(parsed.kind === 'certificate');
  return parsed.certificate;
}

export function makeBundle(...certificates: readonly Certificate[]): TrustBundle {
  return createBundle(certificates);
}
