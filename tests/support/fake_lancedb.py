"""A LanceDB server on this machine: what the vector store asks of the remote client, answered by a local table.

Written after what the client of LanceDB 0.40 sends; what a real server does beyond it is not known here.
"""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import lancedb
import pyarrow

KEY = "a key"


class FakeLanceDB:
    """The server; `address` is what LANCEDB_HOST should say."""

    def __init__(self, folder: Path):
        self.database = lancedb.connect(folder)
        self.called: list[str] = []
        self.closed = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(self))
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        if not self.closed:
            self.closed = True  # also for connections that are kept open
            self._server.shutdown()
            self._server.server_close()

    def answer(self, name, call, body):
        """What a call on a table gives: JSON, or an Arrow table."""
        self.called.append(call)
        if call == "create":
            with pyarrow.ipc.open_stream(body) as reader:
                self.database.create_table(name, schema=reader.schema, exist_ok=True)
            return {}
        table = self.database.open_table(name)
        if call == "insert":
            with pyarrow.ipc.open_stream(body) as reader:
                table.add(reader.read_all())
            return {"version": table.version}
        asked = json.loads(body or b"{}")
        if call == "count_rows":
            return table.count_rows()
        if call == "delete":
            table.delete(asked["predicate"])
            return {"version": table.version, "num_deleted_rows": 0}
        if call == "query":
            return search(table, asked)
        if call == "describe":
            fields = [{"name": field.name, "type": json_type(field.type), "nullable": True} for field in table.schema]
            return {"table": name, "version": table.version, "schema": {"fields": fields}, "stats": {}}
        if call == "index/list":
            return {"indexes": []}
        assert call == "create_index", f"no answer to {call}"
        return {}


def json_type(kind):
    """A column's type as LanceDB's REST interface writes it."""
    if pyarrow.types.is_fixed_size_list(kind):
        item = {"name": "item", "type": json_type(kind.value_type), "nullable": True}
        return {"type": "fixed_size_list", "fields": [item], "length": kind.list_size}
    return {"type": str(kind)}


def search(table, asked):
    query = table.search(asked["vector"] or None)
    if asked["vector"]:
        query = query.distance_type(asked["distance_type"])
    if "filter" in asked:
        query = query.where(asked["filter"], prefilter=asked["prefilter"])
    return query.limit(asked["k"]).select(asked["columns"]).to_arrow()


def handler_of(server):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self._body()
            if server.closed:
                self.close_connection = True
                return None
            path = re.fullmatch(r"/v1/table/(\w+)/([\w/]+?)/?(\?.*)?", self.path)
            if self.headers.get("x-api-key") != KEY:
                return self._send(401, b"", "text/plain")
            answer = server.answer(path[1], path[2], body)
            if isinstance(answer, pyarrow.Table):
                sink = pyarrow.BufferOutputStream()
                with pyarrow.ipc.new_file(sink, answer.schema) as writer:
                    writer.write_table(answer)
                return self._send(200, sink.getvalue().to_pybytes(), "application/vnd.apache.arrow.file")
            return self._send(200, json.dumps(answer).encode(), "application/json")

        def _body(self):
            if self.headers.get("transfer-encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("content-length") or 0))
            parts = []
            while length := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(length))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _send(self, status, body, kind):
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler
