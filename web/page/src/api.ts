// The controller: its settings for this page, who we are, and its REST API
// (controller/openapi.yaml). The identity token lives in this module's memory
// and nowhere else; what is kept for a reload is a name.

import { boundedBody, plain } from '../../module/src/index.js';

export interface Config {
  version: string;
  installation: string;
  sign_in: { kind: string; token_url?: string; issuer?: string };
  limits?: { viewers?: number; lifetime_s?: number; idle_s?: number };
  bundle?: { url: string; sha256: string };
}

export interface Session {
  id: string;
  state: string;
  ending?: boolean;
  reason?: string;
  exit_code?: number;
  signal?: number;
  detail?: string;
  bundle: { url: string; sha256: string };
  created_at: string;
  started_at?: string;
  ended_at?: string;
  isolation?: string;
  egress?: string;
  attach_url: string;
  viewers?: string[];
  viewers_pending?: boolean;
  stages?: Record<string, unknown>[];
  lifetime_s?: number;
  token?: string;
}

export class ApiError extends Error {
  constructor(readonly status: number, message: string) {
    super(message);
  }
}

const ANSWER_MAX = 4 << 20;
const CALL_MS = 20000;
const DETAIL_MAX = 500;
const NAME = 'podterm.name';

let config: Config | null = null;
let token = '';

async function call(path: string, init: RequestInit): Promise<unknown> {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), CALL_MS);
  let response: Response;
  let body: Uint8Array;
  try {
    response = await fetch(path, { credentials: 'omit', redirect: 'error', cache: 'no-store', referrerPolicy: 'no-referrer', signal: limit.signal, ...init });
    body = await boundedBody(response, ANSWER_MAX);
  } catch {
    throw new ApiError(0, 'The server cannot be reached. Is it running, and is there a network?');
  } finally {
    clearTimeout(timer);
  }
  let value: unknown = null;
  try {
    value = JSON.parse(new TextDecoder().decode(body));
  } catch {
    if (response.ok) throw new ApiError(0, 'The server gave an answer that is not what was agreed.');
  }
  if (response.ok) return value;
  const detail = (value as { detail?: unknown } | null)?.detail;
  throw new ApiError(response.status, typeof detail === 'string' ? plain(detail, DETAIL_MAX) : `The server answered ${response.status}.`);
}

export async function loadConfig(): Promise<Config> {
  const value = (await call('/web/config.json', {})) as Config | null;
  if (typeof value?.sign_in?.kind !== 'string') throw new ApiError(0, 'The server gave settings that are not what was agreed.');
  return (config = value);
}

// --- who ---

export function name(): string {
  return sessionStorage.getItem(NAME) ?? '';
}

/** The name used last in this browser, for the form. */
export function lastName(): string {
  return localStorage.getItem(NAME) ?? '';
}

export async function signIn(who: string): Promise<void> {
  token = await fetchIdentity(who);
  sessionStorage.setItem(NAME, who);
  localStorage.setItem(NAME, who);
}

export function signOut(): void {
  token = '';
  sessionStorage.removeItem(NAME);
}

async function fetchIdentity(who: string): Promise<string> {
  const where = config?.sign_in.kind === 'dev' ? config.sign_in.token_url : undefined;
  // a path of this very server, whatever the settings say
  if (!where || !/^\/(?!\/)/.test(where)) throw new ApiError(0, 'This installation has no sign-in for this page.');
  const value = (await call(`${where}?sub=${encodeURIComponent(who)}`, {})) as { id_token?: unknown };
  if (typeof value?.id_token !== 'string') throw new ApiError(0, 'The server gave no identity.');
  return value.id_token;
}

/** An identity token; a fresh one when the last was refused. */
export async function identity(isFresh = false): Promise<string> {
  if (isFresh || !token) token = await fetchIdentity(name());
  return token;
}

// --- the API ---

async function api<T>(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<T> {
  for (let again = false; ; again = true) {
    try {
      return (await call(path, {
        method,
        headers: { ...headers, authorization: `Bearer ${await identity(again)}`, ...(body !== undefined && { 'content-type': 'application/json' }) },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      })) as T;
    } catch (e) {
      // a development identity dies with its controller: once more with another
      if (again || !(e instanceof ApiError) || e.status !== 401) throw e;
    }
  }
}

export interface Wish {
  bundle: { url: string; sha256: string };
  command?: string[];
  env?: Record<string, string>;
  viewers?: string[];
  cols: number;
  rows: number;
}

/** key: the same for a second try of one wish. */
export const createSession = (wish: Wish, key: string) => api<Session>('POST', '/api/sessions', wish, { 'idempotency-key': key });
export const getSession = (id: string) => api<Session>('GET', `/api/sessions/${id}`);
export const endSession = (id: string) => api<Session>('DELETE', `/api/sessions/${id}`);
export const setViewers = (id: string, viewers: string[]) => api<Session>('PATCH', `/api/sessions/${id}`, { viewers });
export const listSessions = (cursor: string) =>
  api<{ sessions: Session[]; next_cursor?: string }>('GET', `/api/sessions?limit=50${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`);
