import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createBundle, emptyBundle } from '../../agent/trust/bundle.ts';
import { type AnchorName, anchorName, type StoreObservation } from '../../agent/trust/observation.ts';
import { provenBy, recollect, withdraw } from '../../agent/trust/provenance.ts';
import { createCertificate } from '../support/certificates.ts';
import { parse } from '../support/host-steps.ts';

const kept = parse(createCertificate());
const other = parse(createCertificate());
const [keptName, otherName] = [anchorName(kept.fingerprint), anchorName(other.fingerprint)];

/** A store in which these are anchors and trusted. */
function storeOf(...certificates: readonly (typeof kept)[]): StoreObservation {
  return {
    anchors: certificates.map((certificate) => ({ name: anchorName(certificate.fingerprint), certificate })),
    derived: [],
    tool: '',
    version: '',
    bundle: new Set(certificates.map(({ fingerprint }) => fingerprint)),
    indexed: new Set(),
    returned: [],
    stillTrusted: [],
  };
}

test('at the first pass of all, what lies on the host counts as proven', () => {
  const { proven, added, withdrawn } = recollect({}, createBundle([kept]), storeOf(kept));
  assert.deepEqual({ proven, added, withdrawn }, { proven: [keptName], added: undefined, withdrawn: undefined });
});

test('what was proven and is not wanted any more is to go, though its anchor may vanish before', () => {
  const { proven, withdrawn } = recollect({ proven: [keptName, otherName] }, createBundle([kept]), storeOf(kept));
  assert.deepEqual({ proven, withdrawn }, { proven: [keptName, otherName], withdrawn: [otherName] });
});

test('what was begun to be added stays on record until it is proven, and is to go when it is dropped before', () => {
  const begun = { proven: [keptName], added: [otherName] };
  const both = createBundle([kept, other]);
  assert.deepEqual(recollect(begun, both, storeOf(kept)), { ...begun, withdrawn: undefined });
  assert.deepEqual(recollect({ proven: [keptName] }, both, storeOf(kept, other)).added, [otherName]);
  const dropped = recollect(begun, createBundle([kept]), storeOf(kept));
  assert.deepEqual(dropped, { proven: [keptName], added: undefined, withdrawn: [otherName] });
  assert.deepEqual({ ...dropped, ...provenBy([kept]) }, { ...dropped, proven: [keptName], added: undefined });
});

test('a link of ours tells of what was ours, and what was only wanted tells of nothing', () => {
  const store = { ...storeOf(kept), derived: [otherName] };
  assert.deepEqual(recollect({ proven: [keptName] }, createBundle([kept]), store).withdrawn, [otherName]);
  assert.equal(recollect({ proven: [] }, createBundle([kept, other]), storeOf()).added, undefined);
  assert.equal(recollect({ proven: [] }, emptyBundle, storeOf()).withdrawn, undefined);
});

test('what was taken away and is wanted again is taken away until its anchor is there', () => {
  const known = { proven: [], withdrawn: [keptName] };
  assert.deepEqual(recollect(known, createBundle([kept]), storeOf()).withdrawn, [keptName]);
  assert.equal(recollect(known, createBundle([kept]), storeOf(kept)).withdrawn, undefined);
});

test('of what was taken away the last ones are remembered', () => {
  const names = Array.from({ length: 1030 }, (_, index) => `node-trust-${index}` as AnchorName);
  assert.deepEqual(withdraw({ withdrawn: names }, []), names.slice(6));
  assert.deepEqual(withdraw({ withdrawn: names }, names.slice(6, 7)), [...names.slice(7), ...names.slice(6, 7)]);
  assert.equal(withdraw({}, []), undefined);
});
