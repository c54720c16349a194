// Elements. Text becomes text nodes, always: there is no way from a string to
// markup in this page.

export type Child = Node | string | null | undefined | false;
type Value = string | number | boolean | null | undefined | ((event: never) => void);

/** props: attributes; a function is a listener for the event of that name;
 * false, null and undefined leave an attribute out. */
export function el<K extends keyof HTMLElementTagNameMap>(tag: K, props: Record<string, Value> = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === 'function') e.addEventListener(name, value as EventListener);
    else if (value === true) e.setAttribute(name, '');
    else if (value !== false && value !== null && value !== undefined) e.setAttribute(name, String(value));
  }
  e.append(...children.filter((c): c is Node | string => c !== null && c !== undefined && c !== false));
  return e;
}

export function button(label: string, run: () => void, props: Record<string, Value> = {}): HTMLButtonElement {
  return el('button', { type: 'button', click: run, ...props }, label);
}

/** A field with its label and, when it is wrong, what is wrong. */
export function field(label: string, input: HTMLElement, hint = ''): HTMLElement {
  const id = `f${++fields}`;
  input.id = id;
  if (hint) input.setAttribute('aria-describedby', `${id}h`);
  return el('div', { class: 'field' }, el('label', { for: id }, label), input, hint ? el('p', { class: 'hint', id: `${id}h` }, hint) : null);
}
let fields = 0;

/** A modal dialog; removed when it is closed. `done` hears what it was closed with. */
export function dialog(title: string, body: Child[], actions: HTMLElement[], done: (value: string) => void = () => {}): HTMLDialogElement {
  const id = `d${++fields}`;
  // whoever came by keyboard goes on from there; by mouse, in the terminal: a
  // blank typed at the button would open this again
  const before =
    (!document.activeElement?.matches(':focus-visible') && document.querySelector('.xterm-helper-textarea')) || document.activeElement;
  const d = el('dialog', { 'aria-labelledby': id }, el('h2', { id }, title), ...body, el('div', { class: 'actions' }, ...actions));
  d.addEventListener('close', () => {
    d.remove();
    if (before instanceof HTMLElement && before.isConnected) before.focus();
    done(d.returnValue);
  });
  document.body.append(d);
  d.showModal();
  return d;
}

/** A yes-or-no question. */
export function ask(title: string, body: Child[], yes: string, isDanger = false): Promise<boolean> {
  return new Promise((resolve) => {
    const d = dialog(
      title,
      body,
      [button('Cancel', () => d.close('')), button(yes, () => d.close('yes'), { class: isDanger ? 'danger' : 'primary' })],
      (value) => resolve(value === 'yes'),
    );
  });
}

const TOASTS_MAX = 3;
const TOAST_MS = 6000;

/** A short message at the bottom of the window, read out by screen readers. */
export function toast(text: string): void {
  let box = document.getElementById('toasts');
  if (!box) document.body.append((box = el('div', { id: 'toasts', role: 'status', 'aria-live': 'polite' })));
  // what stands there is not said again: a program could fill the window
  if ([...box.children].some((t) => t.textContent === text)) return;
  if (box.children.length >= TOASTS_MAX) box.firstElementChild?.remove();
  const t = el('div', { class: 'toast' }, text);
  box.append(t);
  setTimeout(() => t.remove(), TOAST_MS);
}
