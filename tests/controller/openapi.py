#!/usr/bin/env python3
"""Holds controller/openapi.yaml true. Standard library only.

openapi.py FILE routes   < "METHOD /path auth" lines: the routing table
openapi.py FILE answers  < one JSON object a line: {"method","path" (of the
    table),"status","type","body","request"}: what was seen live
openapi.py FILE all-answers  < the same, and every operation once succeeded

Prints every disagreement and leaves with 1 when there was one.
"""
import json
import re
import sys

# --- the YAML that openapi.yaml uses: block maps and lists, flow maps and
# lists, quoted and plain scalars, literal blocks. Anything else is an error.


class Lines:
    def __init__(self, text):
        self.rows = []
        for number, raw in enumerate(text.split("\n"), 1):
            self.rows.append((len(raw) - len(raw.lstrip(" ")), raw.strip(), number))
        self.at = 0

    def peek(self):
        while self.at < len(self.rows):
            row = self.rows[self.at]
            if row[1] and not row[1].startswith("#"):
                return row
            self.at += 1
        return None


def scalar(text):
    if text[:1] in "'\"":
        if len(text) < 2 or text[-1] != text[0]:
            raise ValueError("quote: " + text)
        return json.loads(text) if text[0] == '"' else text[1:-1].replace("''", "'")
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    if text[:1] in "&*!|>%@`":
        raise ValueError("not understood: " + text)
    return text


def flow(text, at):
    """A flow value in text from at: (value, where it ends)."""
    while text[at] == " ":
        at += 1
    if text[at] in "{[":
        is_map, out, close = text[at] == "{", [], "}" if text[at] == "{" else "]"
        at += 1
        while True:
            while text[at] in " ,":
                at += 1
            if text[at] == close:
                return (dict(out) if is_map else out), at + 1
            if is_map:
                key, at = flow(text, at)
                if text[at] != ":":
                    raise ValueError("no colon: " + text)
                value, at = flow(text, at + 1)
                out.append((key, value))
            else:
                value, at = flow(text, at)
                out.append(value)
    if text[at] in "'\"":
        end = at + 1
        while text[end] != text[at]:
            end += 2 if text[end] == "\\" else 1
        return scalar(text[at : end + 1]), end + 1
    end = at
    while end < len(text) and text[end] not in ",}]" and text[end : end + 2] not in (": ", ":"):
        end += 1
    return scalar(text[at:end].strip()), end


def value_of(text, lines, indent):
    if text in ("|", "|-"):
        kept = []
        while lines.at < len(lines.rows):
            depth, body, _ = lines.rows[lines.at]
            if body and depth <= indent:
                break
            kept.append(body)
            lines.at += 1
        return "\n".join(kept)
    if text == "":
        row = lines.peek()
        if row is None or row[0] < indent or (row[0] == indent and not row[1].startswith("- ")):
            return None
        return block(lines, row[0])
    if text[0] in "{[":
        out, end = flow(text, 0)
        if text[end:].strip():
            raise ValueError("behind a flow value: " + text)
        return out
    return scalar(text)


def block(lines, indent):
    row = lines.peek()
    if row[1].startswith("- "):
        out = []
        while (row := lines.peek()) and row[0] == indent and row[1].startswith("- "):
            rest = row[1][2:].lstrip()
            if rest[0] in "{[" or not re.match(r"[\w$\"'/{}.-]+:( |$)", rest):
                lines.at += 1
                out.append(value_of(rest, lines, indent))
            else:  # a map that begins on the dash's line
                inner = indent + len(row[1]) - len(rest)
                lines.rows[lines.at] = (inner, rest, row[2])
                out.append(block(lines, inner))
        return out
    out = {}
    while (row := lines.peek()) and row[0] == indent:
        found = re.match(r"(\"[^\"]*\"|'[^']*'|[^\s:\"'][^:]*):(?: +(.*))?$", row[1])
        if not found:
            raise ValueError("line %d: %s" % (row[2], row[1]))
        key = str(scalar(found.group(1)))
        if key in out:
            raise ValueError("line %d: %s is there twice" % (row[2], key))
        lines.at += 1
        out[key] = value_of((found.group(2) or "").strip(), lines, indent)
    return out


def load(path):
    with open(path, encoding="utf-8") as f:
        lines = Lines(f.read())
    out = block(lines, 0)
    if lines.peek():
        raise ValueError("line %d: indentation" % lines.peek()[2])
    return out


# --- JSON Schema, as much of it as openapi.yaml uses

KNOWN = {
    "type", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum", "items", "minItems", "maxItems", "uniqueItems", "properties",
    "required", "additionalProperties", "propertyNames", "maxProperties", "$ref", "description", "default", "format",
}
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}


def resolve(doc, node):
    while isinstance(node, dict) and "$ref" in node:
        at = doc
        for part in node["$ref"].lstrip("#/").split("/"):
            at = at[part]
        node = at
    return node


def check(doc, schema, value, where):
    schema = resolve(doc, schema)
    unknown = set(schema) - KNOWN
    if unknown:
        return ["%s: schema words not understood: %s" % (where, unknown)]
    bad = []
    kind = schema.get("type")
    if kind and (not isinstance(value, TYPES[kind]) or (kind == "integer" and isinstance(value, bool))):
        return ["%s: %r is no %s" % (where, value, kind)]
    if "enum" in schema and value not in schema["enum"]:
        bad.append("%s: %r is not listed" % (where, value))
    if isinstance(value, str):
        size = len(value.encode())
        if "pattern" in schema and not re.search(schema["pattern"], value):
            bad.append("%s: %r breaks %s" % (where, value, schema["pattern"]))
        if not schema.get("minLength", 0) <= size <= schema.get("maxLength", 1 << 40):
            bad.append("%s: %d bytes" % (where, size))
        if schema.get("format") == "date-time" and not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value):
            bad.append("%s: %r is no time" % (where, value))
    if kind == "integer" and not schema.get("minimum", -(1 << 53)) <= value <= schema.get("maximum", 1 << 53):
        bad.append("%s: %d is out of range" % (where, value))
    if kind == "array":
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 1 << 40):
            bad.append("%s: %d items" % (where, len(value)))
        for i, item in enumerate(value):
            bad += check(doc, schema.get("items", {}), item, "%s[%d]" % (where, i))
    if kind == "object":
        props = schema.get("properties", {})
        for name in schema.get("required", []):
            if name not in value:
                bad.append("%s: %s is missing" % (where, name))
        for name, item in value.items():
            if name in props:
                bad += check(doc, props[name], item, where + "." + name)
            elif schema.get("additionalProperties") is False:
                bad.append("%s: %s is not described" % (where, name))
            elif isinstance(schema.get("additionalProperties"), dict):
                bad += check(doc, schema["additionalProperties"], item, where + "." + name)
    return bad


def walk_refs(doc, node, bad):
    if isinstance(node, dict):
        if "$ref" in node:
            try:
                resolve(doc, node)
            except KeyError:
                bad.append("dangling " + node["$ref"])
        for child in node.values():
            walk_refs(doc, child, bad)
    elif isinstance(node, list):
        for child in node:
            walk_refs(doc, child, bad)


# what is refused by a request's head, whatever it is for
ALWAYS = ("400", "403", "411", "413", "421", "429", "503")
METHODS = ("get", "put", "post", "delete", "options", "head", "patch")


def routes(doc, table):
    bad, seen = [], set()
    for line in table:
        method, path, auth = line.split()
        seen.add((method.lower(), path))
        op = doc["paths"].get(path, {}).get(method.lower())
        if op is None:
            bad.append("%s %s is not described" % (method, path))
            continue
        needs = op.get("security", doc["security"]) != []
        if needs != (auth == "identity"):
            bad.append("%s %s: security says %s, the table %s" % (method, path, needs, auth))
        if needs and "401" not in op["responses"]:
            bad.append("%s %s: no 401" % (method, path))
        for status in ALWAYS:
            if status not in op["responses"]:
                bad.append("%s %s: no %s" % (method, path, status))
        if ("{id}" in path or auth in ("dev", "machine")) and "404" not in op["responses"]:
            bad.append("%s %s: no 404" % (method, path))
    names = []
    for path, item in doc["paths"].items():
        for method in METHODS:
            if method in item:
                names.append(item[method]["operationId"])
                if (method, path) not in seen:
                    bad.append("%s %s is described and not there" % (method, path))
    if len(set(names)) != len(names):
        bad.append("operationId twice")
    walk_refs(doc, doc, bad)
    return bad


def answers(doc, seen, is_all=False):
    bad, count, statuses = [], 0, set()
    for line in seen:
        one = json.loads(line)
        where = "%s %s %d" % (one["method"], one["path"], one["status"])
        op = doc["paths"].get(one["path"], {}).get(one["method"].lower())
        if op is None and (one["status"] != 405 or one["path"] not in doc["paths"]):
            bad.append(where + ": no such operation")
            continue
        answer = resolve(doc, op["responses"].get(str(one["status"])) if op else doc["components"]["responses"]["MethodNotAllowed"])
        count += 1
        statuses.add((one["method"], one["path"], one["status"]))
        if answer is None:
            bad.append(where + ": this status is not described")
            continue
        content = answer.get("content", {})
        kind = one["type"].split(";")[0]
        if kind not in content:
            bad.append("%s: type %s is not described" % (where, kind))
            continue
        value = one["body"]
        if kind.endswith("json"):
            value = json.loads(value)
        bad += check(doc, content[kind]["schema"], value, where)
        if one["status"] < 300 and one.get("request"):
            wish = op["requestBody"]["content"]["application/json"]["schema"]
            bad += check(doc, wish, json.loads(one["request"]), where + " request")
    if count == 0:
        bad.append("no answers were given")
    for path, item in doc["paths"].items():
        for method in METHODS:
            if is_all and method in item and not any(s[:2] == (method.upper(), path) and s[2] < 300 for s in statuses):
                bad.append("%s %s never succeeded" % (method.upper(), path))
    return bad


def main():
    doc = load(sys.argv[1])
    rows = [line for line in sys.stdin.read().split("\n") if line]
    bad = {"routes": routes, "answers": answers,
           "all-answers": lambda doc, seen: answers(doc, seen, is_all=True)}[sys.argv[2]](doc, rows)
    for line in bad:
        print(line)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
