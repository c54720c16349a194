// The least that shows a session in a page: xterm.js for the screen, the
// module for the line. A page of your own brings its own identity: here it is
// that of `podterm dev`.

import { attach, controllerTickets, endSentence, plain } from '@podterm/terminal';
import type { Attachment, State } from '@podterm/terminal';
import { Terminal } from '@xterm/xterm';

const form = document.getElementById('form') as HTMLFormElement;
const line = document.getElementById('state') as HTMLElement;
const place = document.getElementById('terminal') as HTMLElement;
let leave = () => {};

function words(s: State): string {
  if (s.name === 'ended') return endSentence(s.end);
  if (s.name === 'failed') return plain(s.message);
  if (s.name === 'lost') return 'The connection is lost; the program goes on, and this page comes back by itself.';
  return s.name;
}

/** An identity token of `podterm dev` for this name. */
async function identity(name: string): Promise<string> {
  const answer = await fetch(`/dev/token?sub=${encodeURIComponent(name)}`);
  return ((await answer.json()) as { id_token: string }).id_token;
}

function show(sessionId: string, name: string): Attachment {
  const term = new Terminal({ cols: 80, rows: 24 });
  const session = attach({
    tickets: controllerTickets({ sessionId, identity: () => identity(name) }),
    size: { cols: term.cols, rows: term.rows },
    // what xterm.js has parsed is acknowledged, and nothing before
    output: (bytes, _offset, consumed) => term.write(bytes, consumed),
    state: (s) => void (line.textContent = words(s)),
  });

  term.open(place);
  term.onData((typed) => session.type(typed));
  leave = () => {
    session.close();
    term.dispose();
  };
  term.focus();
  return session;
}

form.addEventListener('submit', (event) => {
  const data = new FormData(form);
  event.preventDefault();
  leave();
  show(String(data.get('session')), String(data.get('name')));
});
