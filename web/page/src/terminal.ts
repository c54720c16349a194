// A session's terminal: what is shown of it, what is typed into it, how it
// goes with its connection, and how it ends.

import { attach, controllerTickets, endSentence, plain, stageOf } from '../../module/src/index.js';
import type { Attachment, End, Ready, Role, Size, State } from '../../module/src/index.js';
import { answersNew } from './answers.js';
import { endSession, getSession, identity } from './api.js';
import type { Session } from './api.js';
import { ask, button, dialog, el, toast } from './dom.js';
import { takeFirst } from './first.js';
import { pasteable, programOf, sentence } from './format.js';
import { keyBarNew } from './keybar.js';
import type { Screen } from './main.js';
import { prefsDialog } from './prefs.js';
import { searchNew } from './search.js';
import { onChange, settings } from './settings.js';
import { copyText, shareDialog } from './share.js';
import { stagesNew } from './stages.js';
import { startAgain } from './start.js';
import { statusNew } from './status.js';
import { viewNew } from './view.js';
import type { View } from './view.js';

const TITLE_MAX = 80;
const TITLE_MS = 100; // between two of them: each costs as much as a screen
const FONT_LEAST = 5; // pixels; smaller letters nobody reads
const QUIET_MS = 300; // of output: what was kept for us has been shown
const COARSE = matchMedia('(pointer: coarse)');

interface Ended {
  end: End;
  /** What to start again; none for viewers. */
  bundle: Session['bundle'] | null;
  /** There is output to look at. */
  hasScreen: boolean;
  /** There was some, which this page has not seen. */
  isGone: boolean;
}

function endDialog({ end, bundle, hasScreen, isGone }: Ended): void {
  const d = dialog(
    end.reason === 'exited' && end.code === 0 ? 'Finished' : 'The session has ended',
    [
      el('p', { class: 'lead' }, endSentence(end)),
      end.detail ? el('p', {}, sentence(plain(end.detail, 500))) : null,
      end.missing > 0 ? el('p', {}, `The last ${end.missing} bytes of its output did not arrive.`) : null,
      isGone ? el('p', {}, 'Its output is no longer kept.') : null,
    ],
    [
      button(hasScreen ? 'Look at the screen' : 'Look at the steps', () => d.close()),
      button('Sessions', () => (d.close(), void (location.hash = '#/'))),
      ...(bundle ? [button('Start again', () => (d.close(), startAgain(bundle)), { class: 'primary' })] : []),
    ],
  );
}

/** A viewer's terminal has the owner's size: letters as large as the room allows. */
function shrinkToFit(view: View, room: HTMLElement, size: Size): void {
  const px = settings().fontSize;
  view.term.options.fontSize = px;
  view.term.resize(size.cols, size.rows);
  const screen = room.querySelector<HTMLElement>('.xterm-screen');
  if (!screen?.offsetWidth) return;
  const scale = Math.min(1, (room.clientWidth - 20) / screen.offsetWidth, (room.clientHeight - 8) / screen.offsetHeight);
  if (scale < 1) view.term.options.fontSize = Math.max(FONT_LEAST, Math.floor(px * scale * 2) / 2);
  room.toggleAttribute('data-large', px * scale < FONT_LEAST); // then one scrolls
}

export function terminalScreen(id: string, role: Role): Screen {
  return (root) => {
    const isViewer = role === 'viewer';
    const clipboard = { isAllowed: false, wasTold: false };
    const host = el('div', { class: 'term', 'aria-label': 'Terminal', role: 'group' });
    const stages = stagesNew();
    const title = el('h1', {}, 'Session');
    const tools = el('div', { class: 'do', role: 'toolbar', 'aria-label': 'Terminal tools' });
    const status = statusNew(role, { takeBack: () => (link.takeBack(), term.focus()), retry: () => (link.retryNow(), term.focus()) });
    const screen = el('div', { class: 'terminal', 'data-role': role });
    const room = el('main', { class: 'room' }, host, stages.node);
    let ready: Ready | null = null;
    let viewerSize: Size | null = null;
    let state: State = { name: 'connecting' };
    let program = '';
    /** What makes sense while there is a session. */
    const liveTools: HTMLButtonElement[] = [];

    screen.append(el('header', { class: 'top' }, el('a', { class: 'button', href: '#/', 'aria-label': 'Back to sessions' }, '‹ Sessions'), title, isViewer ? el('span', { class: 'chip' }, 'read only') : null, tools), room, status.node);
    root.append(screen);

    const view = viewNew(host, isViewer);
    const { term } = view;
    const search = searchNew(view.search, () => term.focus());
    room.prepend(search.node);

    // --- what the program may do beside its screen ---

    const answers = answersNew(term, (text) => {
      if (text !== null && clipboard.isAllowed) {
        void copyText(text, 'The program’s text was');
      } else if (!clipboard.wasTold) {
        clipboard.wasTold = true;
        toast('The program wanted the clipboard; that was ignored. Settings can let it write there.');
      }
    });
    const showTitle = () => {
      const bundle = ready?.bundle ? programOf(ready.bundle.url) : 'Session';
      title.textContent = program || plain(bundle, TITLE_MAX);
      document.title = `${title.textContent} – podterm`;
    };
    let titled = 0;
    let lastTitle = '';
    term.onTitleChange((t) => {
      lastTitle = t;
      titled ||= setTimeout(() => {
        titled = 0;
        program = plain(lastTitle, TITLE_MAX);
        showTitle();
      }, TITLE_MS) as unknown as number;
    });

    // --- what was kept is shown again, and answered once ---

    const write = (bytes: Uint8Array, offset: number, consumed: () => void) => {
      answers.begin(offset);
      term.write(bytes, () => {
        answers.done();
        consumed();
      });
    };
    const output = (bytes: Uint8Array, offset: number, consumed: () => void) => {
      const old = answers.until - offset;
      started();
      if (old > 0 && old < bytes.length) {
        write(bytes.subarray(0, old), offset, () => {});
        write(bytes.subarray(old), offset + old, consumed);
      } else {
        write(bytes, offset, consumed);
      }
    };

    // --- the session ---

    let isStarted = false;
    let isLeft = false;
    function showStatus(): void {
      status.show(state, isStarted ? '' : stages.line());
    }
    function started(): void {
      if (isStarted) return;
      isStarted = true;
      stages.node.hidden = true;
      showStatus();
      if (!isViewer && !document.querySelector('dialog')) term.focus();
    }
    function onState(next: State): void {
      state = next;
      showStatus();
      screen.dataset['state'] = next.name;
      for (const b of liveTools) b.disabled = next.name === 'ended' || next.name === 'failed';
      if (next.name === 'ended') {
        term.options.cursorStyle = 'underline';
        term.options.disableStdin = true;
        void showEnd(next.end);
      } else if (next.name === 'failed' && !isStarted) {
        stages.node.hidden = true;
      }
    }
    async function showEnd(end: End): Promise<void> {
      let bundle = ready?.bundle ?? null;
      let isGone = false;
      if (!ready && !isViewer) {
        // it was over before this page came: its record tells the rest
        const s = await getSession(id).catch(() => null);
        if (isLeft) return;
        s?.stages?.forEach((stage) => stages.add(stageOf(stage)));
        bundle = s?.bundle ?? null;
        isGone = (s?.started_at ?? '') !== '';
        if (bundle) title.textContent = plain(programOf(bundle.url), TITLE_MAX);
      }
      if (!isStarted) stages.failed('How far it went', endSentence(end));
      endDialog({ end, bundle: isViewer ? null : bundle, hasScreen: isStarted, isGone });
    }
    function sized(): void {
      if (isViewer) {
        if (viewerSize) shrinkToFit(view, room, viewerSize);
        return;
      }
      const size = view.fit();
      if (!size || (size.cols === term.cols && size.rows === term.rows)) return;
      term.resize(size.cols, size.rows);
      link.resize(size.cols, size.rows);
    }
    const first = isViewer ? null : view.fit();
    if (first) term.resize(first.cols, first.rows);
    const link: Attachment = attach({
      role,
      ...(!isViewer && { size: { cols: term.cols, rows: term.rows } }),
      tickets: controllerTickets({ sessionId: id, role, first: takeFirst(id), identity }),
      state: onState,
      ready(r) {
        const isFirst = ready === null;
        ready = r;
        showTitle();
        if (isViewer && r.size) viewerSize = r.size;
        sized();
        // another window, or the command, may have been here meanwhile
        answers.until = Math.max(answers.until, r.outputSeen);
        if (isFirst) {
          // the screen's beginning is no longer kept: have it drawn anew
          if (r.outputFrom > 0) setTimeout(() => link.repaint(), QUIET_MS);
        }
        if (r.isolation === 'none' && isFirst && !isViewer) toast('This program runs without isolation.');
      },
      stage(s) {
        stages.add(s);
        if (stages.isStarted()) started();
        else showStatus();
      },
      output,
      skipped(bytes) {
        toast(`${bytes} bytes of output were not kept while this window was away.`);
        link.repaint();
      },
      resized(size) {
        viewerSize = size;
        if (isViewer) sized();
      },
    });

    // --- what is typed ---

    const type = (typed: string | Uint8Array) => {
      if (isViewer || link.type(typed)) return;
      if (link.room > 0) toast(`That is too much at once: at most ${Math.floor(link.room / 1024)} KiB can wait for the program. Nothing was sent.`);
      else if (state.name !== 'ended') toast('The program does not read what is typed: nothing more can wait for it.');
    };
    const keys = keyBarNew(term, (typed) => {
      type(typed);
      term.focus();
    });
    term.onData((typed) => type(keys.apply(typed)));
    term.onBinary((typed) => type(Uint8Array.from(typed, (c) => c.charCodeAt(0))));
    const copy = () => {
      if (term.hasSelection()) void copyText(term.getSelection(), 'Selection');
      else toast('Nothing is selected in the terminal.');
    };
    const pasteText = (text: string) => {
      const clean = pasteable(text);
      if (clean.length < text.length) toast('Control characters were left out of what was pasted.');
      term.paste(clean);
    };
    // before xterm.js hears of it, which pastes whatever there is
    host.addEventListener('paste', (event) => {
      event.preventDefault();
      event.stopPropagation();
      pasteText(event.clipboardData?.getData('text/plain') ?? '');
    }, true);
    const paste = async () => {
      try {
        pasteText(await navigator.clipboard.readText());
      } catch {
        toast('The browser did not allow pasting by this button. Use Ctrl+Shift+V, or its own paste command.');
      }
      term.focus();
    };
    term.attachCustomKeyEventHandler((event) => {
      const isOurs = event.type === 'keydown' && event.ctrlKey && !event.altKey && !event.metaKey;
      const run = !isOurs ? null
        : event.shiftKey && event.code === 'KeyC' ? copy
        : event.shiftKey && event.code === 'KeyF' ? search.open
        : event.key === 'F6' ? () => tools.querySelector<HTMLElement>('button')?.focus()
        : null;
      if (isOurs && event.shiftKey && event.code === 'KeyV') return false; // the browser's own paste
      if (!run) return true;
      event.preventDefault();
      run();
      return false;
    });

    // --- around it ---

    const end = async () => {
      if (!(await ask('End this session?', [el('p', {}, 'The program is told to stop, and what it has not saved is gone. To come back later, just leave this page: the program goes on.')], 'End session', true))) return;
      try {
        if (!link.end()) await endSession(id);
      } catch (e) {
        toast((e as Error).message);
      }
    };
    tools.append(button('Search', search.open), button('Copy', copy), button('Settings', () => prefsDialog(clipboard)));
    if (!isViewer) {
      liveTools.push(button('Paste', () => void paste()), button('Share', () => void shareDialog(id)), button('End', () => void end(), { class: 'danger' }));
      tools.append(...liveTools);
      screen.append(keys.node);
    }

    const showKeys = () => (keys.node.hidden = isViewer || !(settings().keys === 'on' || (settings().keys === 'auto' && COARSE.matches)));
    const applied = () => {
      view.applySettings();
      showKeys();
      sized();
    };
    const stopSettings = onChange(applied);
    let frame = 0;
    const observer = new ResizeObserver(() => {
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(sized);
    });
    observer.observe(room);
    showKeys();

    return () => {
      isLeft = true;
      clearTimeout(titled);
      stopSettings();
      observer.disconnect();
      cancelAnimationFrame(frame);
      status.stop();
      link.close();
      term.dispose();
    };
  };
}
