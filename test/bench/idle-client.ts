// What client-node weighs, which the agent loads for a kubeconfig and a daemon in its pod does not: for the bench, which bundles it
// and lets it do nothing.

import { KubeConfig, loadYaml } from '@kubernetes/client-node';

const used = [KubeConfig, loadYaml];
setInterval(() => used, 2 ** 30);
