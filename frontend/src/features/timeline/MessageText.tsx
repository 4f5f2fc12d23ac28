import { Fragment, memo, type ReactNode, useMemo } from 'react';
import { type Block, type Inline, isEmojiOnly, parseBlocks } from '../../lib/markup';
import { CodeBlock } from './CodeBlock';
import './text.css';

type Props = { text: string; ownUsername: string };

/** The text of a message as React nodes: nothing in it can become markup of ours. */
export const MessageText = memo(function MessageText({ text, ownUsername }: Props) {
  const blocks = useMemo(() => parseBlocks(text), [text]);
  return (
    <div className={isEmojiOnly(blocks) ? 'text text--emoji' : 'text'} dir="auto">
      {blocks.map((block, index) => (
        <Fragment key={index}>{renderBlock(block, ownUsername)}</Fragment>
      ))}
    </div>
  );
});

function renderBlock(block: Block, own: string): ReactNode {
  switch (block.kind) {
    case 'code':
      return <CodeBlock language={block.language} text={block.text} />;
    case 'quote':
      return <blockquote>{renderInline(block.children, own)}</blockquote>;
    case 'paragraph':
      return <p>{renderInline(block.children, own)}</p>;
  }
}

function renderInline(nodes: Inline[], own: string): ReactNode[] {
  return nodes.map((node, index) => renderNode(node, index, own));
}

function renderNode(node: Inline, index: number, own: string): ReactNode {
  switch (node.kind) {
    case 'text':
      return <Fragment key={index}>{node.text}</Fragment>;
    case 'code':
      return <code key={index}>{node.text}</code>;
    case 'bold':
      return <strong key={index}>{renderInline(node.children, own)}</strong>;
    case 'italic':
      return <em key={index}>{renderInline(node.children, own)}</em>;
    case 'link':
      return (
        <a key={index} href={node.href} target="_blank" rel="noopener noreferrer nofollow">
          {node.text}
        </a>
      );
    case 'mention':
      return (
        <span
          key={index}
          className={
            node.name.toLowerCase() === own.toLowerCase() ? 'mention mention--me' : 'mention'
          }
        >
          @{node.name}
        </span>
      );
  }
}
