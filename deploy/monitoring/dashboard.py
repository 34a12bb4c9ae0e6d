"""Writes dashboard.json, the Grafana dashboard of viommud, from the table of panels below.

    python3 deploy/monitoring/dashboard.py

A test compares the two, and runs every query against a viommud under load.
"""
import json
import os

_SCHEMA_VERSION = 41  # Grafana 12; older ones read it, newer ones migrate it.
_COLUMNS = 24
_HEIGHT = 8

# Of what a dashboard shows, the hosts that were chosen.
_HOST = 'instance=~"$instance"'
_API = _HOST + ', grpc_service=~"viommu[.].*"'
# The same, of the device plugins that run beside; elsewhere than in Kubernetes they are other instances.
_PLUGIN = 'instance=~"$plugin"'
_KUBELET = _PLUGIN + ', grpc_service="v1beta1.DevicePlugin"'
# Both programs have what every process has.
_DAEMON = 'job="viommud", ' + _HOST


def _rate(name, more="", by=(), of=""):
    """Events a second of a counter, of all hosts together unless `by` says otherwise."""
    labels = of or (_API if name.startswith("grpc_") else _HOST)
    return f"sum by ({', '.join(by)}) (rate({name}{{{labels}{more}}}[$__rate_interval]))"


def _sum(name, by=(), of=_HOST):
    return f"sum by ({', '.join(by)}) ({name}{{{of}}})"


def _of_plugin(name, by=()):
    """_sum of a gauge of the device plugin, or _rate of a counter."""
    name = "viommu_device_plugin_" + name
    return _rate(name, by=by, of=_PLUGIN) if name.endswith("_total") else _sum(name, by, _PLUGIN)


def _quantile(share, name, more="", by=()):
    return f"histogram_quantile({share}, {_rate(name + '_bucket', more, ('le', *by))})"


# (row, [(title, what it tells, unit, {legend: query})]); three panels in a line, and all of the
# first one in its own: single values.
ROWS = [
    ("At a glance", [
        ("Serving", "1: lets calls in. 0: drains.", "none",
         {"{{instance}}": f"viommu_serving{{{_HOST}}}"}),
        ("Version", "What runs.", "none",
         {"{{version}} {{backend}}": f"sum by (version, backend) (viommu_build_info{{{_HOST}}})"}),
        ("Boot", "A new id is a start without state: what was there is gone.", "none",
         {"{{instance}} {{boot_id}}": f"viommu_boot_info{{{_HOST}}}"}),
        ("Uptime", "Since the process was started.", "s",
         {"{{instance}}": f"time() - process_start_time_seconds{{{_DAEMON}}}"}),
    ]),
    ("Service", [
        ("Calls", "Begun, the ten busiest methods.", "ops",
         {"{{grpc_method}}":
          f"topk(10, {_rate('grpc_server_started_total', by=['grpc_method'])})"}),
        ("Refused and failed calls", "By status code.", "ops",
         {"{{grpc_code}}":
          _rate("grpc_server_handled_total", ', grpc_code!="OK"', by=["grpc_code"])}),
        ("Time of a call", "Unary ones, from the first byte to the status.", "s",
         {"median": _quantile(0.5, "grpc_server_handling_seconds", ', grpc_type="unary"'),
          "99 %": _quantile(0.99, "grpc_server_handling_seconds", ', grpc_type="unary"')}),
        ("Error budget", "Share of the calls of an hour that failed; 0.1 % may.", "percentunit",
         {"{{instance}}": f"viommu:call_failures:ratio_rate1h{{{_HOST}}}"}),
        ("Latency budget", "Share of the calls of an hour that took over 100 ms; 1 % may.",
         "percentunit", {"{{instance}}": f"viommu:slow_calls:ratio_rate1h{{{_HOST}}}"}),
        ("Messages", "Of all calls; streams carry many.", "ops",
         {"in, {{grpc_type}}": _rate("grpc_server_msg_received_total", by=["grpc_type"]),
          "out, {{grpc_type}}": _rate("grpc_server_msg_sent_total", by=["grpc_type"])}),
    ]),
    ("Limits", [
        ("Calls and streams", "Share of the places that are taken.", "percentunit",
         {"{{instance}} {{kind}}":
          f"viommu_calls_in_flight{{{_HOST}}} / viommu_calls_limit{{{_HOST}}}"}),
        ("Refused before they did anything", "Calls and streams, by reason.", "ops",
         {"{{reason}}": _rate("viommu_calls_refused_total", by=["reason"])}),
        ("Refused for the sake of others", "By the limit that their owner met.", "ops",
         {"{{limit}}": _rate("viommu_limit_refusals_total", by=["limit"])}),
        ("Connections", "Open, and how many may be.", "none",
         {"{{transport}}": _sum("viommu_connections", by=["transport"]),
          "limit": _sum("viommu_connections_limit")}),
        ("Sockets of tenants", "That there are, and how many there may be.", "none",
         {"{{instance}}": f"viommu_listeners{{{_HOST}}}",
          "{{instance}} limit": f"viommu_listeners_limit{{{_HOST}}}"}),
        ("Refused connections", "Closed as soon as they came in.", "ops",
         {"{{transport}} {{reason}}":
          _rate("viommu_connections_refused_total", by=["transport", "reason"])}),
        ("Processor", "Time that viommud takes of it: 1 is one processor.", "none",
         {"{{instance}}": f"rate(process_cpu_seconds_total{{{_DAEMON}}}[$__rate_interval])"}),
        ("Memory", "Of viommud, as far as it is in RAM.", "bytes",
         {"{{instance}}": f"process_resident_memory_bytes{{{_DAEMON}}}"}),
        ("Open files", "Share of those that viommud may have.", "percentunit",
         {"{{instance}}":
          f"process_open_fds{{{_DAEMON}}} / process_max_fds{{{_DAEMON}}}"}),
        ("Remembered requests", "Request ids kept for repeated calls.", "none",
         {"{{instance}}": f"viommu_remembered_requests{{{_HOST}}}"}),
    ]),
    ("Objects", [
        ("Objects by kind", "That are there.", "none",
         {"{{kind}}": _sum("viommu_objects", by=["kind"])}),
        ("Suspended", "What lost its memory, and is not in force.", "none",
         {"{{kind}}": _sum("viommu_suspended_objects", by=["kind"])}),
        ("Devices", "Claimed from the host, and attached to a domain.", "none",
         {"claimed": _sum("viommu_claimed_devices"), "attached": _sum("viommu_attached_devices")}),
        ("Unhealthy devices", "By cause; quarantined ones are blocked until a reset succeeds.",
         "none",
         {"{{cause}}": _sum("viommu_unhealthy_devices", by=["cause"]),
          "quarantined": _sum("viommu_quarantined_devices")}),
        ("Quarantines", "Devices that did not answer an invalidation, and were blocked.", "ops",
         {"{{instance}}": _rate("viommu_device_quarantines_total", by=["instance"])}),
        ("Changes of domain", "Hitless: no DMA met a gap.", "ops",
         {"hitless {{hitless}}": _rate("viommu_attach_transitions_total", by=["hitless"])}),
        ("Changes of domain by kind", "From what to what.", "ops",
         {"{{kind}}": _rate("viommu_attach_transitions_total", by=["kind"])}),
    ]),
    ("Mapping", [
        ("Mapped", "In all address spaces.", "bytes",
         {"{{instance}}": f"viommu_mapped_bytes{{{_HOST}}}"}),
        ("Mappings", "In all address spaces.", "none",
         {"{{instance}}": f"viommu_mappings{{{_HOST}}}"}),
        ("Tables", "Memory of tables and queues.", "bytes",
         {"{{instance}}": f"4096 * viommu_table_pages{{{_HOST}}}",
          "{{instance}} limit": f"4096 * viommu_table_pages_limit{{{_HOST}}}"}),
        ("Entries mapped and unmapped", "By the way they came in.", "ops",
         {"map, {{path}}": _rate("viommu_map_batch_entries_sum", by=["path"]),
          "unmap, {{path}}": _rate("viommu_unmap_batch_entries_sum", by=["path"])}),
        ("Entries of a batch", "99 % have at most so many.", "none",
         {"map": _quantile(0.99, "viommu_map_batch_entries"),
          "unmap": _quantile(0.99, "viommu_unmap_batch_entries")}),
        ("Time of a batch", "99 % take at most so long.", "s",
         {"map": _quantile(0.99, "viommu_map_batch_seconds"),
          "unmap": _quantile(0.99, "viommu_unmap_batch_seconds")}),
    ]),
    ("Hardware", [
        ("Invalidations", "Descriptors submitted, by kind.", "ops",
         {"{{kind}}": _rate("viommu_invalidations_total", by=["kind"])}),
        ("Invalidation queues", "Share that the hardware has not taken yet.", "percentunit",
         {"{{instance}} {{iommu}}":
          f"viommu_invalidation_queue_depth{{{_HOST}}}"
          f" / viommu_invalidation_queue_entries{{{_HOST}}}"}),
        ("Waits", "Times that an invalidation was waited for.", "ops",
         {"{{iommu}}": _rate("viommu_invalidation_waits_total", by=["iommu"])}),
        ("Errors and time-outs of invalidations", "Every one is worth a look.", "ops",
         {"error, {{iommu}}": _rate("viommu_invalidation_errors_total", by=["iommu"]),
          "time-out, {{iommu}}": _rate("viommu_invalidation_timeouts_total", by=["iommu"])}),
        ("Stopped DMA", "By the hardware's reason.", "ops",
         {"{{reason}}": _rate("viommu_dma_faults_total", by=["reason"])}),
        ("Deferred flushes", "By what caused them, and those that failed.", "ops",
         {"{{cause}}": _rate("viommu_flush_queue_flushes_total", by=["cause"]),
          "failed": _rate("viommu_flush_queue_failures_total")}),
        ("Waiting for a deferred flush", "Ranges in all queues, and in the fullest.", "none",
         {"all": _sum("viommu_flush_queue_entries"),
          "fullest": f"max(viommu_flush_queue_depth{{{_HOST}}})"}),
    ]),
    ("Page faults and events", [
        ("Waiting", "Groups for an answer, and faults for the last of their group.", "none",
         {"groups": _sum("viommu_page_fault_groups_waiting"),
          "partial": _sum("viommu_page_faults_partial")}),
        ("Answers", "Groups, by code.", "ops",
         {"{{code}}": _rate("viommu_page_fault_answers_total", by=["code"])}),
        ("Lost", "Groups that found their queue full, and faults left out.", "ops",
         {"groups lost": _rate("viommu_page_fault_groups_lost_total"),
          "faults dropped": _rate("viommu_page_faults_dropped_total")}),
        ("Events of guests' IOMMUs", "That wait for their reader.", "none",
         {"events": _sum("viommu_events_waiting")}),
        ("Lost events of guests' IOMMUs", "That found their queue full.", "ops",
         {"events": _rate("viommu_events_lost_total")}),
    ]),
    ("Device plugin", [
        ("Offered devices", "To the kubelet, by their health.", "none",
         {"{{resource}} {{health}}": _of_plugin("devices", ["resource", "health"])}),
        ("Unhealthy to the kubelet", "By reason; docs/KUBERNETES.md says what to do.", "none",
         {"{{resource}} {{reason}}": _of_plugin("unhealthy_devices", ["resource", "reason"])}),
        ("Allocated devices", "That an allocation holds.", "none",
         {"{{resource}}": _of_plugin("allocated_devices", ["resource"])}),
        ("Allocations", "By the kubelet's call, and how it ended.", "ops",
         {"allocate, {{result}}": _of_plugin("allocations_total", ["result"]),
          "start of a container, {{result}}": _of_plugin("renewals_total", ["result"]),
          "free, {{result}}": _of_plugin("freed_allocations_total", ["result"])}),
        ("Calls of the kubelet", "By method and status code.", "ops",
         {"{{grpc_method}} {{grpc_code}}": _rate("grpc_server_handled_total",
                                                by=["grpc_method", "grpc_code"], of=_KUBELET)}),
        ("Leaked allocations", "That no pod has, and that could not be freed.", "none",
         {"{{instance}}": _of_plugin("leaked_allocations", ["instance"])}),
        ("Whom it reaches", "1: viommud, and the kubelet's list of pods. 0: it does not.", "none",
         {"viommud, {{instance}}": _of_plugin("viommud_up", ["instance"]),
          "pods, {{instance}}": _of_plugin("pod_resources_up", ["instance"])}),
        ("Kubelets that follow", "Lists of devices. 0: the node offers none.", "none",
         {"{{resource}}": _of_plugin("kubelet_streams", ["resource"])}),
        ("Version of the plugin", "On how many nodes which one runs.", "none",
         {"{{version}}": _of_plugin("build_info", ["version"])}),
        ("Registrations", "With the kubelet, and how they ended.", "ops",
         {"{{resource}} {{result}}": _of_plugin("registrations_total", ["resource", "result"])}),
    ]),
]

_SOURCE = {"type": "prometheus", "uid": "${source}"}


def _graph():
    return {
        "type": "timeseries",
        "options": {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                    "tooltip": {"mode": "multi", "sort": "desc"}},
    }


def _value(queries):
    """Its name says all where there is more than the instance in it."""
    informs = any(legend != "{{instance}}" for legend in queries)
    return {
        "type": "stat",
        "options": {"textMode": "name" if informs else "value_and_name", "colorMode": "value",
                    "graphMode": "none", "reduceOptions": {"calcs": ["lastNotNull"]}},
    }


def _panel(title, description, unit, queries, position):
    targets = [{"refId": chr(ord("A") + i), "datasource": _SOURCE, "editorMode": "code",
                "expr": query, "legendFormat": legend, "range": True}
               for i, (legend, query) in enumerate(queries.items())]
    return {
        "title": title, "description": description, "datasource": _SOURCE, "gridPos": position,
        "targets": targets, "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
    }


def _panels():
    """Rows and panels, each line of panels as wide as the page."""
    panels, y = [], 0
    for title, row in ROWS:
        values = row is ROWS[0][1]
        most, height = (len(row), _HEIGHT // 2) if values else (3, _HEIGHT)
        panels.append({"type": "row", "title": title, "collapsed": False, "panels": [],
                       "gridPos": {"x": 0, "y": y, "w": _COLUMNS, "h": 1}})
        y += 1
        for start in range(0, len(row), most):
            line = row[start:start + most]
            width = _COLUMNS // len(line)
            for i, panel in enumerate(line):
                position = {"x": i * width, "y": y, "w": width, "h": height}
                panels.append(dict(_panel(*panel, position),
                                   **(_value(panel[-1]) if values else _graph())))
            y += height
    for number, panel in enumerate(panels, 1):
        panel["id"] = number
    return panels


def _instances(name, label, metric):
    """A choice of those that have a metric."""
    query = f"label_values({metric}, instance)"
    return {
        "name": name, "label": label, "type": "query", "datasource": _SOURCE, "definition": query,
        "query": {"qryType": 1, "query": query, "refId": name},
        "includeAll": True, "allValue": ".*", "multi": True, "refresh": 2, "sort": 1,
        "current": {"text": ["All"], "value": ["$__all"]}}


def _variables():
    return [
        {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
        _instances("instance", "Host", "viommu_build_info"),
        _instances("plugin", "Device plugin", "viommu_device_plugin_viommud_up"),
    ]


def dashboard():
    return {
        "uid": "viommud", "title": "viommud", "tags": ["viommu"], "editable": True,
        "description": "The hosts' virtual IOMMUs. docs/RUNBOOK.md says what to do about them.",
        "schemaVersion": _SCHEMA_VERSION, "refresh": "30s", "graphTooltip": 1,
        "time": {"from": "now-3h", "to": "now"}, "timezone": "browser",
        "annotations": {"list": [{
            "name": "Starts", "datasource": _SOURCE, "enable": True,
            "iconColor": "red", "titleFormat": "started", "textFormat": "{{instance}}",
            "expr": f"changes(process_start_time_seconds{{{_DAEMON}}}[1m]) > 0", "step": "1m"}]},
        "templating": {"list": _variables()},
        "panels": _panels(),
    }


def text():
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "dashboard.json"), "w",
              encoding="utf-8") as file:
        file.write(text())
