// xterm.js as this page wants it: no answer that a program could abuse, links
// asked first, the quick renderer where there is one.

import { FitAddon } from '@xterm/addon-fit';
import { SearchAddon } from '@xterm/addon-search';
import { Unicode11Addon } from '@xterm/addon-unicode11';
import { WebLinksAddon } from '@xterm/addon-web-links';
import { Terminal } from '@xterm/xterm';
import { plain } from '../../module/src/index.js';
import { ask, el, toast } from './dom.js';
import { isDark, settings } from './settings.js';
import { DARK, LIGHT } from './theme.js';

export interface View {
  term: Terminal;
  search: SearchAddon;
  /** As many cells as there is room for; null while it is not shown. */
  fit(): { cols: number; rows: number } | null;
  applySettings(): void;
}

const LINK_MAX = 2048;

/** A program says where a link leads: only to the web, and only if the user,
 * who sees the whole address, wants to go there. */
async function follow(text: string): Promise<void> {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return;
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    toast('This link does not lead to the web; it is not opened.');
    return;
  }
  if (text.length > LINK_MAX) {
    toast(`This link has more than ${LINK_MAX} characters; it is not opened.`);
    return;
  }
  const isSure = await ask('Open this link?', [el('p', {}, 'The program shows a link to ', el('strong', {}, plain(url.host, 200)), ':'), el('p', { class: 'url mono' }, plain(url.href, LINK_MAX))], 'Open in a new tab');
  if (isSure) window.open(url.href, '_blank', 'noopener,noreferrer');
}

/** Does a graphics card do it, or would the processor draw every pixel? */
function hasQuickWebgl(): boolean {
  const probe = document.createElement('canvas').getContext('webgl2', { failIfMajorPerformanceCaveat: true });
  if (!probe) return false;
  const names = probe.getExtension('WEBGL_debug_renderer_info');
  const name = String(probe.getParameter(names ? names.UNMASKED_RENDERER_WEBGL : probe.RENDERER));
  probe.getExtension('WEBGL_lose_context')?.loseContext();
  return !/swiftshader|llvmpipe|softpipe|software|basic render/i.test(name);
}

/** WebGL draws quickest, where it is one of hardware. The addon is fetched only then. */
async function quickRenderer(term: Terminal): Promise<void> {
  if (!hasQuickWebgl()) return;
  try {
    const { WebglAddon } = await import('@xterm/addon-webgl');
    const webgl = new WebglAddon();
    webgl.onContextLoss(() => webgl.dispose()); // xterm.js' own renderer takes over
    term.loadAddon(webgl);
  } catch {
    // xterm.js' own renderer stays
  }
}

export function viewNew(host: HTMLElement, isViewer: boolean): View {
  const fitter = new FitAddon();
  const search = new SearchAddon();
  const term = new Terminal({
    allowProposedApi: true, // Unicode 11, marks of the search
    cursorBlink: false,
    disableStdin: isViewer,
    fontFamily: 'ui-monospace, "Cascadia Mono", "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace',
    fontSize: settings().fontSize,
    linkHandler: { activate: (_event, uri) => void follow(uri), allowNonHttpProtocols: false },
    minimumContrastRatio: 4.5,
    rescaleOverlappingGlyphs: true,
    screenReaderMode: settings().reader,
    scrollback: 10000,
    theme: isDark() ? DARK : LIGHT,
    // windowOptions: none; a program may not ask for, or change, the window
  });

  term.loadAddon(fitter);
  term.loadAddon(search);
  term.loadAddon(new Unicode11Addon());
  term.loadAddon(new WebLinksAddon((_event, uri) => void follow(uri)));
  term.unicode.activeVersion = '11';
  term.open(host);
  void quickRenderer(term);
  return {
    term,
    search,
    fit() {
      const size = fitter.proposeDimensions();
      if (!size || !Number.isFinite(size.cols) || !Number.isFinite(size.rows)) return null;
      return { cols: Math.max(2, Math.min(1000, size.cols)), rows: Math.max(1, Math.min(1000, size.rows)) };
    },
    applySettings() {
      term.options.theme = isDark() ? DARK : LIGHT;
      term.options.fontSize = settings().fontSize;
      term.options.screenReaderMode = settings().reader;
    },
  };
}
