// What belongs to operators, against the operators' own schemas: KEDA's and the Prometheus operator's.
import { readFileSync } from 'node:fs';
import { ScaledObject, TriggerAuthentication } from '@kubernetes-models/keda/keda.sh/v1alpha1';
import { PodMonitor } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1';
import { parseAllDocuments } from 'yaml';

const models = { ScaledObject, TriggerAuthentication, PodMonitor };
let judged = 0;
for (const file of process.argv.slice(2)) {
  for (const document of parseAllDocuments(readFileSync(file, 'utf8'), { strict: true })) {
    if (document.errors.length > 0) throw document.errors[0];
    const object = document.toJS();
    new models[object.kind](object).validate();
    judged += 1;
  }
}
if (judged === 0) throw new Error('nothing to judge');
console.log(`manifests: ${judged} objects of KEDA and the Prometheus operator: valid`);
