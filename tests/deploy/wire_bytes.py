"""Measures what parties send each other, against what a simulation counts.

    python -m tests.deploy.wire_bytes WORKDIR --config=...

Prints a table of bytes a round: as a simulation counts messages, and on the
wire, with sealing, the framing of Flower and of HTTP, TLS, and the questions of
nodes that have nothing to do. TCP and IP headers are left out. The first round,
in which all shake hands, is, too.
"""

import contextlib
import pathlib
import sys
import time

from fps_jax.deploy.local import Deployment
from fps_jax.deploy.study import OUTCOME
from tests.helpers.deployments import rows_of
from tests.helpers.proxy import CountingProxy


def _count(proxies) -> dict[str, int]:
  """Returns the bytes so far, of clients and of servers, each way."""
  return {
    f'{role} {way}': sum(
      getattr(proxy, way)
      for name, proxy in proxies.items()
      if name.startswith(role)
    )
    for role in ('clients', 'server')
    for way in ('sent', 'received')
  }


def measure(workdir: pathlib.Path, arguments: list[str], clients) -> dict:
  """Returns bytes a round without the first: counted, and on the wire."""
  command = [*arguments, f'--workdir={workdir}']
  deployment = Deployment(workdir.with_name('parties'), command)
  deployment.make_keys(5, clients)
  outcome, counts = deployment.folder / OUTCOME, []
  with contextlib.ExitStack() as stack:
    stack.callback(deployment.stop)
    deployment.start_link()
    deployment.register()
    proxies = {}
    for name in deployment.nodes:
      proxy = CountingProxy('127.0.0.1', deployment.link_port)
      proxies[name] = stack.enter_context(proxy)
      deployment.start_node(name, proxy.address)
    deployment.run()
    while deployment.processes['run'].poll() is None:
      if len(rows_of(workdir)) > len(counts):
        counts.append(_count(proxies))
      time.sleep(0.1)
  if not outcome.exists() or outcome.read_text():
    raise SystemExit(f'error: see {deployment.log("run")}')
  rows = rows_of(workdir)[1 : len(counts)]
  up = sum(r['uplink_bytes_per_client'] * r['clients_reporting'] for r in rows)
  counted = {
    'clients sent': up,
    'clients received': sum(
      r['downlink_bytes_per_client'] * r['clients_reporting'] for r in rows
    ),
    'server sent': sum(r['server_to_central_bytes'] for r in rows),
    # Shares come by way of the central server.
    'server received': up,
  }
  return {
    name: (total / len(rows), (counts[-1][name] - counts[0][name]) / len(rows))
    for name, total in counted.items()
  }


def main(workdir: str, *arguments: str) -> None:
  """Prints the table."""
  numbers = range(8)
  measured = measure(
    pathlib.Path(workdir).absolute(),
    list(arguments),
    [numbers[:4], numbers[4:]],
  )
  print('| bytes a round | counted | on the wire | overhead |')
  print('|---|---|---|---|')
  for name, (counted, found) in measured.items():
    more = 100 * (found / counted - 1)
    print(f'| {name} | {counted:,.0f} | {found:,.0f} | {more:.1f} % |')


if __name__ == '__main__':
  main(*sys.argv[1:])
