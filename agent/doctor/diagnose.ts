// All checks, in the order of the chain, and the one link to mend first: the first that fails, else the first that warns.

import { checkChain } from './chain-checks.ts';
import { type Check, notKnown, pass, skipped } from './check.ts';
import type { Facts } from './facts.ts';
import { checkClock, checkDns, checkProxy, checkTcp, checkTls } from './network-checks.ts';
import { checkConfig, checkFolder, checkRegistries, checkSkipVerify } from './registry-checks.ts';
import { checkEnvironment, checkRuntime } from './runtime-checks.ts';
import { checkToken } from './token-check.ts';
import { checkTrust, whyNoHost } from './trust-checks.ts';
import { createView, type View } from './view.ts';

export interface Diagnosed {
  readonly checks: readonly Check[];
  /** The link to mend first; undefined where nothing is broken. */
  readonly first: Check | undefined;
}

export function diagnose(facts: Facts): Diagnosed {
  const view = createView(facts);
  const checks = [
    checkDns(facts),
    checkTcp(facts),
    checkProxy(facts),
    checkTls(facts),
    checkClock(view),
    checkChain(view),
    ...checkTrust(view),
    checkRuntime(view),
    checkEnvironment(view),
    checkFolder(view),
    checkSkipVerify(view),
    checkConfig(view),
    checkRegistries(view),
    checkToken(view),
  ];
  const all = [...checks, checkPod(view, checks)];
  const find = (status: Check['status']): Check | undefined => all.find((check) => check.status === status);
  return { checks: all, first: find('fail') ?? find('warn') };
}

/** Whose store lacks the root. Nothing on the node tells what is in a container's image: this is what is left. */
function checkPod({ host, chain, facts }: View, checks: readonly Check[]): Check {
  if (host === undefined) return notKnown('pod', whyNoHost(facts));
  if (checks.some(({ status }) => status === 'fail'))
    return skipped('pod', 'something is broken before any pod has a part in it');
  if (chain?.root === undefined) return skipped('pod', 'no chain was seen');
  return pass(
    'pod',
    "the node trusts it: an x509 error in the log of a program comes from the store of its own container's image",
  );
}
